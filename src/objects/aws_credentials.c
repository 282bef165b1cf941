/* Implementation of objects/aws_credentials.h: the order of places, and the cache. */
#include "objects/aws_credentials.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "objects/aws_metadata.h"

#define RENEW_MS   (5u * 60 * 1000) /* before they expire */
#define REFUSED_MS 10000u           /* an answer "there are none" is believed for so long */

struct aws_credential_source {
    struct aws_http *http;
    char *profile, *access_key_id, *secret_access_key, *session_token;
    char *role_arn, *external_id, *region;
    struct aws_credential_source *assume_with;
    pthread_mutex_t lock; /* of what follows; held while they are fetched: the others wait for it */
    struct aws_credentials cached;
    bool have;
    struct err refused;
    uint64_t refused_until_ms;
};

static char *copy(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

struct aws_credential_source *aws_credential_source_new(const struct aws_credentials_config *config,
                                                        struct aws_http *http)
{
    struct aws_credential_source *s = xcalloc(1, sizeof(*s));
    s->http = http;
    s->profile = copy(config->profile);
    s->access_key_id = copy(config->access_key_id);
    s->secret_access_key = copy(config->secret_access_key);
    s->session_token = copy(config->session_token);
    s->role_arn = copy(config->role_arn);
    s->external_id = copy(config->external_id);
    s->region = copy(config->region);
    s->assume_with = config->assume_with;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void aws_credential_source_free(struct aws_credential_source *s)
{
    pthread_mutex_destroy(&s->lock);
    free(s->profile);
    free(s->access_key_id);
    free(s->secret_access_key);
    free(s->session_token);
    free(s->role_arn);
    free(s->external_id);
    free(s->region);
    free(s);
}

static bool put(char *out, size_t cap, const char *text)
{
    return (size_t)snprintf(out, cap, "%s", text ? text : "") < cap;
}

static enum rc from_texts(const char *id, const char *secret, const char *token, struct aws_credentials *out,
                          struct err *err)
{
    bool ok = put(out->access_key_id, sizeof(out->access_key_id), id) &&
              put(out->secret_access_key, sizeof(out->secret_access_key), secret) &&
              put(out->session_token, sizeof(out->session_token), token);
    if (!ok)
        return err_set(err, RC_INVALID, "the AWS credentials are longer than any");
    if (!out->access_key_id[0] || !out->secret_access_key[0])
        return err_set(err, RC_INVALID, "of the AWS credentials one of access key id and secret is missing");
    return RC_OK;
}

static enum rc from_profile(const char *name, struct aws_credentials *out, struct err *err)
{
    struct aws_profile *p = xcalloc(1, sizeof(*p));
    enum rc rc = RC_OK;
    if (!aws_profile_load(name, p))
        rc = err_set(err, RC_NOT_FOUND, "there is no AWS profile '%s' in ~/.aws/credentials or ~/.aws/config",
                     name);
    else if (p->credentials.access_key_id[0])
        *out = p->credentials;
    else if (p->unsupported[0])
        rc = err_set(err, RC_INVALID, "the AWS profile '%s' uses %s, which this server does not support",
                     name, p->unsupported);
    else
        rc = err_set(err, RC_NOT_FOUND, "the AWS profile '%s' has no access key", name);
    free(p);
    return rc;
}

static enum rc from_role(struct aws_credential_source *s, const _Atomic bool *canceled,
                         struct aws_credentials *out, struct err *err)
{
    struct aws_credentials *mine = xcalloc(1, sizeof(*mine));
    enum rc rc = aws_credentials_get(s->assume_with, canceled, mine, err);
    if (rc == RC_OK) {
        struct aws_assume_role r = {mine, s->role_arn, s->external_id, s->region};
        rc = aws_assume_role(s->http, canceled, &r, out, err);
    }
    free(mine);
    return rc;
}

static enum rc fetch(struct aws_credential_source *s, const _Atomic bool *canceled,
                     struct aws_credentials *out, struct err *err)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *profile = getenv("AWS_PROFILE");
    if (s->role_arn)
        return from_role(s, canceled, out, err);
    if (s->access_key_id || s->secret_access_key)
        return from_texts(s->access_key_id, s->secret_access_key, s->session_token, out, err);
    if (s->profile) {
        enum rc rc = from_profile(s->profile, out, err);
        return rc == RC_NOT_FOUND ? (err->rc = RC_INVALID) : rc; /* nowhere else */
    }
    if (id && *id)
        return from_texts(id, getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN"), out, err);
    enum rc rc = from_profile(profile && *profile ? profile : "default", out, err);
    if (rc == RC_NOT_FOUND)
        rc = aws_web_identity(s->http, canceled, out, err);
    if (rc == RC_NOT_FOUND)
        rc = aws_container_credentials(s->http, canceled, out, err);
    if (rc == RC_NOT_FOUND)
        rc = aws_instance_credentials(s->http, canceled, out, err);
    if (rc == RC_NOT_FOUND)
        rc = err_set(
            err, RC_INVALID,
            "there are no AWS credentials: neither configured (aws-access-key-id, aws-profile) nor in the "
            "environment, in ~/.aws, from a web identity, the container or the instance");
    return rc;
}

enum rc aws_credentials_get(struct aws_credential_source *s, const _Atomic bool *canceled,
                            struct aws_credentials *out, struct err *err)
{
    pthread_mutex_lock(&s->lock);
    uint64_t now = os_wall_ms();
    enum rc rc = RC_OK;
    bool fresh = s->have && (!s->cached.expires_ms || now + RENEW_MS < s->cached.expires_ms);
    if (!fresh && now < s->refused_until_ms) {
        *err = s->refused;
        rc = err->rc;
    } else if (!fresh) {
        struct aws_credentials got = {0};
        rc = fetch(s, canceled, &got, err);
        if (rc == RC_OK) {
            s->cached = got;
            s->have = true;
        } else if (rc != RC_CANCELED) {
            s->refused = *err;
            s->refused_until_ms = now + REFUSED_MS;
        }
    }
    /* They could not be renewed, but have not expired. */
    if (rc != RC_OK && s->have && now < s->cached.expires_ms)
        rc = RC_OK;
    if (rc == RC_OK) {
        *out = s->cached;
        *err = (struct err){0}; /* of places that had none */
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void aws_credentials_forget(struct aws_credential_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->have = false;
    pthread_mutex_unlock(&s->lock);
}
