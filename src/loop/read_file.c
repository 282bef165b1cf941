/* Implementation of loop/read_file.h. */
#include "loop/read_file.h"

#include <errno.h>

#include "base/codec.h"

#define PIECE 16384u

enum rc read_stream(FILE *f, const char *name, size_t limit, struct bytes *out, struct err *err)
{
    struct writer w = WRITER_INIT;
    size_t n;
    do {
        n = fread(writer_reserve(&w, PIECE), 1, PIECE, f);
        w.len += n;
    } while (n > 0 && w.len <= limit);
    enum rc rc = RC_OK;
    if (ferror(f))
        rc = err_set_errno(err, RC_IO, errno, "cannot read %s", name);
    else if (w.len > limit)
        rc = err_set(err, RC_TOO_LARGE, "%s is larger than %zu bytes", name, limit);
    if (rc == RC_OK)
        *out = writer_take(&w);
    writer_free(&w);
    return rc;
}

enum rc read_file(const char *path, size_t limit, struct bytes *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(err, errno == ENOENT ? RC_NOT_FOUND : RC_IO, errno, "cannot open %s", path);
    enum rc rc = read_stream(f, path, limit, out, err);
    fclose(f);
    return rc;
}
