/* Implementation of admin/ui.h, and the routes that serve it. */
#define _GNU_SOURCE /* DT_DIR */
#include "admin/ui.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "admin/admin_internal.h"
#include "admin/ui_page.h"
#include "base/hash.h"

#define DEPTH_MAX 16

struct file {
    char *path; /* relative */
    struct bytes content;
};
struct admin_ui {
    struct {
        struct file *items;
        size_t len, cap;
    } files; /* by path */
    size_t total;
    const struct file *index;
};

static const char *content_type(const char *path)
{
    static const struct {
        const char *extension, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".js", "text/javascript"},
                 {".css", "text/css"},
                 {".json", "application/json"},
                 {".woff2", "font/woff2"},
                 {".ttf", "font/ttf"},
                 {".png", "image/png"},
                 {".svg", "image/svg+xml"},
                 {".ico", "image/x-icon"},
                 {".webmanifest", "application/manifest+json"}};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (slice_ends_with(slice_cstr(path), slice_cstr(types[i].extension)))
            return types[i].type;
    return "text/plain";
}

/* ---- reading ---- */

static enum rc read_file(struct admin_ui *ui, const char *name, const char *path, struct err *err)
{
    FILE *f = fopen(name, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
        if (f)
            fclose(f);
        return f ? RC_OK : err_set(err, RC_IO, "cannot read %s: %s", name, strerror(errno));
    }
    size_t size = (size_t)st.st_size;
    if (ui->files.len == ADMIN_UI_FILES_MAX || size > ADMIN_UI_BYTES_MAX - ui->total) {
        fclose(f);
        return err_set(err, RC_TOO_LARGE, "the directory of the web UI has more than %u files or %u MiB",
                       ADMIN_UI_FILES_MAX, ADMIN_UI_BYTES_MAX >> 20);
    }
    struct buf *buf = buf_new(size + 1);
    size_t got = fread(buf->data, 1, size, f);
    fclose(f);
    ui->total += got;
    VEC_PUSH(&ui->files, ((struct file){xstrdup(path), bytes_take_buf(buf, 0, got)}));
    return RC_OK;
}

static enum rc read_directory(struct admin_ui *ui, const char *name, const char *path, unsigned depth,
                              struct err *err)
{
    DIR *d = depth < DEPTH_MAX ? opendir(name) : NULL;
    enum rc rc = d ? RC_OK : err_set(err, RC_IO, "cannot read the directory %s: %s", name, strerror(errno));
    struct dirent *e;
    while (rc == RC_OK && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        char *below = xasprintf("%s/%s", name, e->d_name);
        char *relative = xasprintf("%s%s%s", path, path[0] ? "/" : "", e->d_name);
        struct stat st;
        if (stat(below, &st) == 0 && S_ISDIR(st.st_mode))
            rc = read_directory(ui, below, relative, depth + 1, err);
        else
            rc = read_file(ui, below, relative, err);
        free(below);
        free(relative);
    }
    if (d)
        closedir(d);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static const struct file *find(const struct admin_ui *ui, const char *path)
{
    struct file key = {.path = (char *)path};
    return bsearch(&key, ui->files.items, ui->files.len, sizeof(key), by_path);
}

enum rc admin_ui_load(const char *directory, struct admin_ui **out, struct err *err)
{
    struct admin_ui *ui = xcalloc(1, sizeof(*ui));
    enum rc rc = read_directory(ui, directory, "", 0, err);
    if (rc == RC_OK) {
        qsort(ui->files.items, ui->files.len, sizeof(struct file), by_path);
        ui->index = find(ui, "index.html");
        if (!ui->index)
            rc = err_set(err, RC_INVALID, "%s holds no index.html", directory);
    }
    if (rc != RC_OK) {
        admin_ui_free(ui);
        return rc;
    }
    *out = ui;
    return RC_OK;
}

struct admin_ui *admin_ui_own(void)
{
    struct admin_ui *ui = xcalloc(1, sizeof(*ui));
    VEC_PUSH(&ui->files, ((struct file){xstrdup("index.html"), bytes_static(slice_cstr(ui_page))}));
    ui->index = &ui->files.items[0];
    return ui;
}

void admin_ui_free(struct admin_ui *ui)
{
    for (size_t i = 0; i < ui->files.len; i++) {
        free(ui->files.items[i].path);
        bytes_unref(&ui->files.items[i].content);
    }
    VEC_FREE(&ui->files);
    free(ui);
}

void admin_ui_find(const struct admin_ui *ui, struct slice path, struct admin_ui_file *out)
{
    struct writer decoded = WRITER_INIT;
    percent_decode(&decoded, path);
    write_u8(&decoded, 0);
    const struct file *f = find(ui, (const char *)writer_slice(&decoded).ptr);
    writer_free(&decoded);
    if (!f)
        f = ui->index;
    *out = (struct admin_ui_file){content_type(f->path), f->content};
}

/* ---- routes ---- */

void handle_root(struct admin_call *c)
{
    if (!c->admin->deps.ui) {
        answer_empty(c, 404);
        return;
    }
    char *location = xasprintf("/ui/%s%s", c->query[0] ? "?" : "", c->query);
    answer_redirect(c, location);
    free(location);
}

void handle_ui(struct admin_call *c)
{
    struct admin_ui_file f;
    if (!c->admin->deps.ui) {
        answer_empty(c, 404);
        return;
    }
    /* The parameter is decoded already; decoding it again changes nothing but names with a '%' in them. */
    admin_ui_find(c->admin->deps.ui, slice_cstr(c->params[0] ? c->params[0] : ""), &f);
    answer_file(c, f.content_type, f.content);
}
