/* Who we are for AWS (S3, Lambda). In this order, as the tools of AWS do it: the keys that are configured; a
 * profile that is configured; the environment (AWS_ACCESS_KEY_ID, ...); the files ~/.aws/credentials and
 * ~/.aws/config; a web identity (AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN); the container's service; the
 * instance's (IMDSv2). Blocking: for jobs on worker threads, any number of them. */
#pragma once
#include "objects/aws_http.h"

struct aws_credential_source;
struct aws_credentials_config {
    const char *profile;                                           /* NULL: none */
    const char *access_key_id, *secret_access_key, *session_token; /* NULL: not configured */
    /* Not NULL: a role that is assumed (STS AssumeRole) with the credentials of `assume_with`. Nothing of the
     * above counts then. */
    const char *role_arn, *external_id, *region; /* external_id NULL: none; region of the STS endpoint */
    struct aws_credential_source *assume_with;   /* must outlive it */
};
/* Copies the texts. `http` must outlive it. */
struct aws_credential_source *aws_credential_source_new(const struct aws_credentials_config *config,
                                                        struct aws_http *http);
void aws_credential_source_free(struct aws_credential_source *s);
/* From memory, or fetched when there are none or they end soon. RC_INVALID: there are none, with a sentence
 * where they were looked for; RC_UNAVAILABLE. */
enum rc aws_credentials_get(struct aws_credential_source *s, const _Atomic bool *canceled,
                            struct aws_credentials *out, struct err *err);
/* They were refused as expired. */
void aws_credentials_forget(struct aws_credential_source *s);

/* ---- pure pieces ---- */
struct aws_profile {
    struct aws_credentials credentials; /* access_key_id "": the file has none */
    char region[64];
    char endpoint[512];   /* endpoint_url */
    char unsupported[64]; /* a key that is not understood and would give credentials, e.g. role_arn; "": none
                           */
};
/* Adds what the text of a credentials file (sections [name]) or of a config file ([profile name], [default])
 * says about a profile. false: it has no such section. */
bool aws_profile_read(struct slice text, const char *profile, bool config_file, struct aws_profile *out);
/* Both files of this user (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE). false: in none of them. */
bool aws_profile_load(const char *profile, struct aws_profile *out);
/* The JSON of the container's and the instance's service. */
enum rc aws_credentials_parse(struct slice json, struct aws_credentials *out, struct err *err);
