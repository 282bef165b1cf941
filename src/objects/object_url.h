/* Where an object store is: `s3://bucket/prefix`, `file:///directory` (spec/cluster.md §6.1). */
#pragma once
#include "base/bytes.h"

enum object_scheme { OBJECT_URL_S3, OBJECT_URL_FILE };
#define OBJECT_PREFIX_MAX 480u

struct object_url {
    enum object_scheme scheme;
    char bucket[64];                    /* S3 */
    char prefix[OBJECT_PREFIX_MAX + 1]; /* S3: "" or "a/b" without slashes at its ends */
    char directory[4096];               /* file: absolute */
};
/* A query part is ignored. RC_UNSUPPORTED for a scheme that is not supported, RC_INVALID for what is no such
 * URL; the sentence names it. */
enum rc object_url_parse(struct slice text, struct object_url *out, struct err *err);
