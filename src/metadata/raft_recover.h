/* The metadata of a cluster after the majority of its metadata servers was lost for ever (BETTER B13): one
 * survivor's storage becomes the only member of the group, and goes on with all that it has. Offline: the
 * server of the storage must not run. Blocks. */
#pragma once
#include "metadata/raft_file.h"

struct raft_recovery {
    struct raft_member before, after; /* the member, with its old and its new storage id */
    struct raft_members members;      /* of the group that is lost */
    uint64_t fingerprint, term, commit, last_index, last_term;
    bool removed; /* the group had removed this member before: its data may be old */
    char *cluster_name;
    char *backup; /* the file as it was; NULL after a look */
};
/* What raft_recover would do with the storage in `dir`; nothing is changed, not even a torn tail.
 * RC_NOT_FOUND: there is no storage; RC_INVALID: it holds no metadata, or its group has this member only;
 * RC_CORRUPT. raft_recovery_free follows only RC_OK. */
enum rc raft_recover_look(const char *dir, uint64_t storage, struct raft_recovery *out, struct err *err);
/* Do it: copy the file to a backup beside it, then append one frame. RC_EXISTS: a process has it open. On an
 * error the storage is as it was. */
enum rc raft_recover(const char *dir, struct raft_recovery *r, struct err *err);
void raft_recovery_free(struct raft_recovery *r);
