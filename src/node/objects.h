/* The object stores that the configuration names: for snapshots, and for metadata. */
#pragma once
#include "base/job.h"
#include "node/config.h"
#include "objects/object_url.h"

/* A store that repeats what may be repeated. Takes over `runner`. RC_INVALID: see s3_objects_new. */
enum rc node_objects_open(const struct object_url *url, const struct object_access *access, struct env *env,
                          struct job_runner *runner, struct object_store **out, struct err *err);
