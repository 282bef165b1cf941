/* What is served below /ui (spec/admin-api.md §19): the files of a directory, read into memory at start, or
 * else a small page of our own. */
#pragma once
#include "base/bytes.h"

struct admin_ui;

#define ADMIN_UI_BYTES_MAX (128u << 20) /* of all files together */
#define ADMIN_UI_FILES_MAX 4096u
/* Reads the directory (which must hold an index.html) and everything below it; blocks. RC_IO, RC_INVALID,
 * RC_TOO_LARGE with a sentence. */
enum rc admin_ui_load(const char *directory, struct admin_ui **out, struct err *err);
/* The page of our own. */
struct admin_ui *admin_ui_own(void);
void admin_ui_free(struct admin_ui *ui);

struct admin_ui_file {
    const char *content_type;
    struct bytes content; /* lent */
};
/* `path` behind "/ui/"; what does not exist is index.html. */
void admin_ui_find(const struct admin_ui *ui, struct slice path, struct admin_ui_file *out);
