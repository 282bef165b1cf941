/* Implementation of node/objects.h. */
#include "node/objects.h"

#include "objects/file_objects.h"
#include "objects/s3_objects.h"

static enum rc open_s3(const struct object_url *url, const struct object_access *a, struct env *env,
                       struct job_runner *runner, struct object_store **out, struct err *err)
{
    struct s3_objects_config config = {
        .bucket = url->bucket,
        .region = a->aws_region,
        .endpoint = a->aws_endpoint_url,
        .allow_http = a->aws_allow_http,
        .credentials =
            {
                .profile = a->aws_profile,
                .access_key_id = a->aws_access_key_id,
                .secret_access_key = a->aws_secret_access_key,
                .session_token = a->aws_session_token,
            },
        .connect_timeout_ms = a->connect_timeout_ms,
        .stall_timeout_ms = a->stall_timeout_ms,
    };
    return s3_objects_new(env, runner, &config, out, err);
}

enum rc node_objects_open(const struct object_url *url, const struct object_access *access, struct env *env,
                          struct job_runner *runner, struct object_store **out, struct err *err)
{
    struct object_store *store;
    enum rc rc = RC_OK;
    if (url->scheme == OBJECT_URL_FILE) {
        struct file_objects_config config = {.directory = url->directory, .durable = true};
        store = file_objects_new(env, runner, &config);
    } else {
        rc = open_s3(url, access, env, runner, &store, err);
    }
    if (rc == RC_OK)
        *out = object_retry_new(env, store, &access->retry);
    return rc;
}
