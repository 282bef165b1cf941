/* A whole file into memory. Blocks: for start-up, work of the pool, and command line tools. Any thread. */
#pragma once
#include <stdio.h>

#include "base/bytes.h"

/* At most `limit` bytes. *out is the caller's. RC_NOT_FOUND: there is no such file; RC_TOO_LARGE; RC_IO. */
enum rc read_file(const char *path, size_t limit, struct bytes *out, struct err *err);
/* What is left of an open file; `name` for messages. */
enum rc read_stream(FILE *f, const char *name, size_t limit, struct bytes *out, struct err *err);
