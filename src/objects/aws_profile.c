/* Texts with credentials (objects/aws_credentials.h): files of profiles, JSON of services. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "loop/read_file.h"
#include "objects/aws_credentials.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)

static struct slice strip(struct slice s)
{
    while (s.len && strchr(" \t\r", s.ptr[0]))
        s = slice_sub(s, 1, s.len - 1);
    while (s.len && strchr(" \t\r", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_section(struct slice line, const char *profile, bool config_file)
{
    struct slice name = strip(slice_sub(line, 1, line.len - 2));
    bool prefixed = slice_starts_with(name, SLICE_LIT("profile "));
    if (config_file && prefixed)
        name = strip(slice_sub(name, 8, name.len - 8));
    else if (config_file && strcmp(profile, "default") != 0)
        return false;
    return slice_eq_cstr(name, profile);
}

static void keep(struct slice v, char *out, size_t cap)
{
    if (v.len < cap && !out[0])
        snprintf(out, cap, "%.*s", SLICE_FMT(v));
}

static void read_key(struct slice key, struct slice v, struct aws_profile *out)
{
    static const char *const unsupported[] = {"role_arn", "credential_process", "sso_session",
                                              "sso_start_url", "web_identity_token_file"};
    struct aws_credentials *c = &out->credentials;
    if (slice_eq_cstr(key, "aws_access_key_id"))
        keep(v, c->access_key_id, sizeof(c->access_key_id));
    else if (slice_eq_cstr(key, "aws_secret_access_key"))
        keep(v, c->secret_access_key, sizeof(c->secret_access_key));
    else if (slice_eq_cstr(key, "aws_session_token"))
        keep(v, c->session_token, sizeof(c->session_token));
    else if (slice_eq_cstr(key, "region"))
        keep(v, out->region, sizeof(out->region));
    else if (slice_eq_cstr(key, "endpoint_url"))
        keep(v, out->endpoint, sizeof(out->endpoint));
    for (size_t i = 0; i < ARRAY_LEN(unsupported); i++) {
        if (slice_eq_cstr(key, unsupported[i]))
            keep(key, out->unsupported, sizeof(out->unsupported));
    }
}

bool aws_profile_read(struct slice text, const char *profile, bool config_file, struct aws_profile *out)
{
    bool found = false, inside = false;
    for (size_t pos = 0; pos < text.len;) {
        ptrdiff_t end = slice_find(text, '\n', pos);
        size_t to = end < 0 ? text.len : (size_t)end;
        struct slice raw = slice_sub(text, pos, to - pos), line = strip(raw);
        pos = to + 1;
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
            continue;
        if (line.len >= 2 && line.ptr[0] == '[' && line.ptr[line.len - 1] == ']') {
            inside = is_section(line, profile, config_file);
            found = found || inside;
            continue;
        }
        ptrdiff_t eq = slice_find(line, '=', 0);
        bool nested = raw.ptr[0] == ' ' || raw.ptr[0] == '\t'; /* keys of `s3 =` and the like */
        if (inside && eq > 0 && !nested)
            read_key(strip(slice_sub(line, 0, (size_t)eq)),
                     strip(slice_sub(line, (size_t)eq + 1, line.len - (size_t)eq - 1)), out);
    }
    return found;
}

static bool load_file(const char *variable, const char *name, const char *profile, bool config_file,
                      struct aws_profile *out)
{
    const char *path = getenv(variable), *home = getenv("HOME");
    char *own = path && *path ? xstrdup(path) : home ? xasprintf("%s/.aws/%s", home, name) : NULL;
    struct bytes text = BYTES_EMPTY;
    bool found = own && read_file(own, FILE_MAX_BYTES, &text, NULL) == RC_OK &&
                 aws_profile_read(bytes_slice(text), profile, config_file, out);
    bytes_unref(&text);
    free(own);
    return found;
}

bool aws_profile_load(const char *profile, struct aws_profile *out)
{
    bool a = load_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile, false, out);
    bool b = load_file("AWS_CONFIG_FILE", "config", profile, true, out);
    return a || b;
}

/* ---- JSON ---- */

/* 0: it is no time */
static uint64_t parse_time(const char *text)
{
    int y, mo, d, h, mi, s;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &y, &mo, &d, &h, &mi, &s) != 6)
        return 0;
    struct tm tm = {
        .tm_year = y - 1900, .tm_mon = mo - 1, .tm_mday = d, .tm_hour = h, .tm_min = mi, .tm_sec = s};
    time_t t = timegm(&tm);
    return t > 0 ? (uint64_t)t * 1000 : 0;
}

static bool get(const json_t *o, const char *name, char *out, size_t cap)
{
    const char *v = json_string_value(json_object_get(o, name));
    return v && *v && !strpbrk(v, "\r\n") && (size_t)snprintf(out, cap, "%s", v) < cap;
}

enum rc aws_credentials_parse(struct slice text, struct aws_credentials *out, struct err *err)
{
    json_error_t e;
    json_t *o = json_loadb((const char *)text.ptr, text.len, 0, &e);
    char expiration[64] = "";
    *out = (struct aws_credentials){0};
    bool ok = o && get(o, "AccessKeyId", out->access_key_id, sizeof(out->access_key_id)) &&
              get(o, "SecretAccessKey", out->secret_access_key, sizeof(out->secret_access_key));
    if (ok && json_object_get(o, "Token"))
        ok = get(o, "Token", out->session_token, sizeof(out->session_token));
    if (ok && json_object_get(o, "Expiration"))
        ok = get(o, "Expiration", expiration, sizeof(expiration)) &&
             (out->expires_ms = parse_time(expiration)) != 0;
    json_decref(o);
    return ok ? RC_OK : err_set(err, RC_CORRUPT, "the answer has no AWS credentials");
}
