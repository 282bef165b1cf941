/* An object store in a directory: for one machine (several processes may share it), for tests, and for the
 * scratch space of imports. Keys are paths below the directory. Conditional writes hold a lock on the
 * directory; every write goes to a temporary file that is synced and renamed (spec/cluster.md §6.1). */
#pragma once
#include "base/job.h"
#include "objects/object_store.h"

struct file_objects_config {
    const char *directory; /* created with its parents when something is written */
    bool durable;          /* fsync; false: scratch space that does not outlive the process */
};
/* Takes over `runner` (free). */
struct object_store *file_objects_new(struct env *env, struct job_runner *runner,
                                      const struct file_objects_config *config);
