/* Shared by lambda.c (calls) and lambda_access.c (credentials, endpoints, signatures). */
#pragma once
#include "base/job.h"
#include "invoker/lambda.h"

/* ---- lambda_access.c ---- */
struct job_runner *lambda_access_runner(struct lambda_access *a, struct loop *loop);
/* Break off fetching of credentials, for good. */
void lambda_access_cancel(struct lambda_access *a);

/* A request of the Invoke API, ready to be sent. */
struct lambda_invoke {
    char *url; /* of the endpoint: scheme and authority */
    struct writer path;
    char date[20];
    struct writer authorization; /* NUL-terminated */
    char *session_token;         /* NULL: none */
};
/* Worker thread, may block: endpoint, credentials and signature for this payload. RC_INVALID, RC_UNAVAILABLE.
 * To be freed in any case. */
enum rc lambda_invoke_prepare(struct lambda_access *a, const char *arn, const char *role,
                              struct slice payload, struct lambda_invoke *out, struct err *err);
void lambda_invoke_free(struct lambda_invoke *i);
/* The credentials were refused as expired. */
void lambda_access_forget(struct lambda_access *a, const char *role);
