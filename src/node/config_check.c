/* Type checks and printing of configuration values (spec/config.md §1.5, §1.6). */
#include <arpa/inet.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/time.h"
#include "node/config_internal.h"
#include "node/config_keys.h"

static enum rc wrong_type(const struct cv *v, const char *expected, struct err *err)
{
    char what[300];
    cv_describe(v, what, sizeof(what));
    return err_set(err, RC_INVALID, "invalid type: found %s, expected %s", what, expected);
}

static void become_int(struct cv *v, int64_t i)
{
    free(v->string);
    v->string = NULL;
    v->type = CV_INT;
    v->integer = i;
}

static void become_string(struct cv *v, char *take)
{
    for (size_t i = 0; i < v->len; i++)
        cv_free(v->items[i]);
    v->len = 0;
    free(v->string);
    v->string = take;
    v->type = CV_STRING;
}

static bool is_int(const struct cv *v)
{
    return v->type == CV_INT || v->type == CV_UINT;
}

static enum rc check_int(struct cv *v, int64_t min, int64_t max, const char *expected, struct err *err)
{
    if (!is_int(v))
        return wrong_type(v, expected, err);
    if (v->integer < min || v->integer > max) {
        char what[64];
        cv_describe(v, what, sizeof(what));
        return err_set(err, RC_INVALID, "invalid value %s, expected %s", what, expected);
    }
    v->type = CV_INT;
    return RC_OK;
}

static enum rc check_duration(struct cv *v, bool positive, struct err *err)
{
    if (v->type != CV_STRING)
        return wrong_type(v, "a duration string such as \"5s\", \"1h 30m\" or \"PT5S\"", err);
    uint64_t ns;
    struct err why = {0};
    if (duration_parse(slice_cstr(v->string), &ns, &why) != RC_OK)
        return err_set(err, RC_INVALID, "invalid duration \"%s\": %s", v->string, why.msg);
    if (positive && ns == 0)
        return err_set(err, RC_INVALID, "duration cannot be zero");
    become_int(v, (int64_t)ns);
    return RC_OK;
}

static enum rc check_bytes(struct cv *v, bool positive, struct err *err)
{
    uint64_t bytes;
    if (is_int(v) && v->integer >= 0) {
        bytes = (uint64_t)v->integer;
    } else if (v->type == CV_STRING) {
        if (byte_size_parse(slice_cstr(v->string), &bytes, NULL) != RC_OK)
            return err_set(err, RC_INVALID,
                           "invalid value: string \"%s\", expected a human-readable byte count string",
                           v->string);
    } else {
        return wrong_type(v, "a human-readable byte count string", err);
    }
    if (positive && bytes == 0)
        return err_set(err, RC_INVALID, "invalid value: byte count cannot be zero");
    become_int(v, (int64_t)bytes);
    return RC_OK;
}

static enum rc check_enum(const char *choices, struct cv *v, struct err *err)
{
    if (v->type != CV_STRING)
        return wrong_type(v, "a string", err);
    if (choice_listed(choices, v->string))
        return RC_OK;
    char list[400] = "";
    for (const char *p = choices; *p;) {
        size_t len = strcspn(p, ",");
        size_t at = strlen(list);
        snprintf(list + at, sizeof(list) - at, "%s`%.*s`", at ? ", " : "", (int)len, p);
        p += len + (p[len] == ',');
    }
    return err_set(err, RC_INVALID, "unknown variant: found `%s`, expected `one of %s`", v->string, list);
}

static const char *const role_names[] = {"http-ingress", "admin", "worker", "log-server", "metadata-server"};

static enum rc check_roles(struct cv *v, struct err *err)
{
    if (v->type != CV_LIST)
        return wrong_type(v, "a sequence", err);
    bool on[5] = {false};
    for (size_t i = 0; i < v->len; i++) {
        struct cv *item = v->items[i];
        if (item->type == CV_STRING && strcmp(item->string, "metadata-store") == 0)
            item = cv_string("metadata-server", item->source), cv_free(v->items[i]), v->items[i] = item;
        enum rc rc = check_enum("http-ingress,admin,worker,log-server,metadata-server", item, err);
        if (rc != RC_OK)
            return rc;
        for (size_t r = 0; r < ARRAY_LEN(role_names); r++)
            on[r] = on[r] || strcmp(role_names[r], item->string) == 0;
    }
    /* canonical order, no repeats */
    for (size_t i = 0; i < v->len; i++)
        cv_free(v->items[i]);
    v->len = 0;
    for (size_t r = 0; r < ARRAY_LEN(role_names); r++) {
        if (on[r])
            cv_push(v, cv_string(role_names[r], v->source));
    }
    return RC_OK;
}

/* ---- replication property: 3, "3", "{node: 3, zone: 2}", {node = 3, zone = 2} ---- */

static enum rc bad_replication(struct err *err)
{
    return err_set(err, RC_INVALID, "Invalid replication property syntax");
}

static enum rc check_replication(struct cv *v, struct err *err)
{
    static const char *const scopes[] = {"node", "zone", "region"};
    long n[3] = {0, 0, 0};
    if (is_int(v)) {
        n[0] = v->integer;
    } else if (v->type == CV_TABLE) {
        for (size_t i = 0; i < v->len; i++) {
            size_t s = 0;
            while (s < 3 && strcasecmp(scopes[s], v->items[i]->key) != 0)
                s++;
            if (s == 3 || !is_int(v->items[i]))
                return bad_replication(err);
            n[s] = v->items[i]->integer;
        }
        if (v->len == 0)
            return bad_replication(err);
    } else if (v->type == CV_STRING) {
        char *end;
        const char *p = v->string + strspn(v->string, " ");
        if (*p != '{') {
            n[0] = strtol(p, &end, 10);
            if (end == p || *end)
                return bad_replication(err);
        } else {
            p++;
            for (;;) {
                p += strspn(p, " ");
                size_t s = 0;
                while (s < 3 && strncasecmp(p, scopes[s], strlen(scopes[s])) != 0)
                    s++;
                if (s == 3)
                    return bad_replication(err);
                p += strlen(scopes[s]);
                p += strspn(p, " ");
                if (*p++ != ':')
                    return bad_replication(err);
                n[s] = strtol(p, &end, 10);
                if (end == p)
                    return bad_replication(err);
                p = end + strspn(end, " ");
                if (*p == '}')
                    break;
                if (*p++ != ',')
                    return bad_replication(err);
            }
        }
    } else {
        return wrong_type(v, "a replication property", err);
    }
    long widest = 0;
    for (int s = 2; s >= 0; s--) {
        if (n[s] < 0 || n[s] > 255 || (n[s] && n[s] < widest))
            return bad_replication(err);
        widest = n[s] ? n[s] : widest;
    }
    if (widest == 0)
        return bad_replication(err);
    if (n[1] == 0 && n[2] == 0) {
        if (v->type == CV_TABLE)
            become_string(v, xstrdup(""));
        become_int(v, n[0]);
        return RC_OK;
    }
    char text[96] = "{";
    for (int s = 0; s < 3; s++) {
        if (n[s])
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s: %ld",
                     strlen(text) > 1 ? ", " : "", scopes[s], n[s]);
    }
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "}");
    become_string(v, xstrdup(text));
    return RC_OK;
}

/* ---- addresses ---- */

static bool is_ip(const char *host, bool *v6)
{
    struct in6_addr a6;
    struct in_addr a4;
    *v6 = inet_pton(AF_INET6, host, &a6) == 1;
    return *v6 || inet_pton(AF_INET, host, &a4) == 1;
}

static unsigned default_port(const char *path)
{
    if (strncmp(path, "admin.query-engine.", 19) == 0)
        return 9071;
    return strncmp(path, "admin.", 6) == 0 ? 9070 : strncmp(path, "ingress.", 8) == 0 ? 8080 : 5122;
}

static enum rc check_bind_address(const struct config_key *key, struct cv *v, struct err *err)
{
    if (v->type != CV_STRING)
        return wrong_type(v, "an IP address with an optional port", err);
    char host[128];
    long port = default_port(key->path);
    const char *s = v->string;
    bool v6;
    const char *port_text = NULL;
    if (*s == '[') {
        const char *close = strchr(s, ']');
        if (!close || (size_t)(close - s) > sizeof(host))
            return err_set(err, RC_INVALID, "invalid IP address syntax: \"%s\"", s);
        snprintf(host, sizeof(host), "%.*s", (int)(close - s - 1), s + 1);
        port_text = close[1] == ':' ? close + 2 : close[1] ? close + 1 : NULL;
    } else {
        const char *colon = strchr(s, ':');
        bool one_colon = colon && !strchr(colon + 1, ':');
        snprintf(host, sizeof(host), "%.*s", one_colon ? (int)(colon - s) : (int)strlen(s), s);
        port_text = one_colon ? colon + 1 : NULL;
    }
    if (!is_ip(host, &v6))
        return err_set(err, RC_INVALID, "invalid IP address syntax: \"%s\"", s);
    if (port_text) {
        char *end;
        port = strtol(port_text, &end, 10);
        if (end == port_text || *end || port < 0 || port > 65535)
            return err_set(err, RC_INVALID, "invalid port in \"%s\"", s);
    }
    become_string(v, xasprintf(v6 ? "[%s]:%ld" : "%s:%ld", host, port));
    return RC_OK;
}

static enum rc check_address(struct cv *v, struct err *err)
{
    if (v->type != CV_STRING)
        return wrong_type(v, "an address such as \"http://10.0.0.1:5122\" or \"unix:PATH\"", err);
    if (!*v->string)
        return err_set(err, RC_INVALID, "address cannot be empty");
    for (const char *p = v->string; *p; p++) {
        if (isspace((unsigned char)*p))
            return err_set(err, RC_INVALID, "invalid address \"%s\": blanks are not allowed", v->string);
    }
    const char *scheme = strstr(v->string, "://");
    if (scheme && !strchr(scheme + 3, '/'))
        become_string(v, xasprintf("%s/", v->string));
    return RC_OK;
}

static enum rc check_list(struct cv *v, enum rc (*check)(struct cv *item, struct err *err), struct err *err)
{
    if (v->type != CV_LIST)
        return wrong_type(v, "a sequence", err);
    for (size_t i = 0; i < v->len; i++) {
        enum rc rc = check(v->items[i], err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc check_string(struct cv *v, struct err *err)
{
    if (v->type == CV_INT && v->source && strstr(v->source, "TOML"))
        return wrong_type(v, "a string", err);
    return v->type == CV_STRING ? RC_OK : wrong_type(v, "a string", err);
}

static enum rc check_location(struct cv *v, struct err *err)
{
    enum rc rc = check_string(v, err);
    if (rc != RC_OK)
        return rc;
    const char *s = v->string + strspn(v->string, " ");
    size_t n = strlen(s);
    while (n > 0 && s[n - 1] == ' ')
        n--;
    become_string(v, slice_dup_cstr(slice_make(s, n)));
    size_t dots = 0;
    for (const char *p = v->string; *p; p++) {
        dots += *p == '.';
        if (isspace((unsigned char)*p))
            return err_set(err, RC_INVALID, "invalid location \"%s\": no blanks inside", v->string);
    }
    if (dots > 1 || (v->string[0] == '.' && v->string[1]))
        return err_set(err, RC_INVALID, "invalid location \"%s\": expected `region` or `region.zone`",
                       v->string);
    return RC_OK;
}

static enum rc check_string_table(struct cv *v, bool lower_keys, struct err *err)
{
    if (v->type != CV_TABLE)
        return wrong_type(v, "a map", err);
    for (size_t i = 0; i < v->len; i++) {
        enum rc rc = check_string(v->items[i], err);
        if (rc != RC_OK)
            return rc;
        for (char *p = v->items[i]->key; lower_keys && *p; p++) {
            if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
                return err_set(err, RC_INVALID, "invalid HTTP header name \"%s\"", v->items[i]->key);
            *p = (char)tolower((unsigned char)*p);
        }
    }
    return RC_OK;
}

static enum rc check_retry(struct cv *v, struct err *err)
{
    if (v->type != CV_TABLE)
        return wrong_type(v, "a retry policy table", err);
    struct cv *type = cv_member(v, "type");
    if (!type)
        return err_set(err, RC_INVALID, "missing field `type`");
    enum rc rc = check_enum("none,fixed-delay,exponential", type, err);
    for (size_t i = 0; rc == RC_OK && i < v->len; i++) {
        struct cv *m = v->items[i];
        if (strcmp(m->key, "interval") == 0 || strcmp(m->key, "initial-interval") == 0 ||
            strcmp(m->key, "max-interval") == 0)
            rc = check_duration(m, false, err);
        else if (strcmp(m->key, "max-attempts") == 0)
            rc = check_int(m, 1, INT64_MAX, "a positive integer", err);
        else if (strcmp(m->key, "factor") == 0 && m->type != CV_FLOAT && !is_int(m))
            rc = wrong_type(m, "a number", err);
    }
    return rc;
}

static enum rc check_float(struct cv *v, struct err *err)
{
    if (is_int(v)) {
        v->number = (double)v->integer;
        v->type = CV_FLOAT;
    }
    return v->type == CV_FLOAT && isfinite(v->number) ? RC_OK : wrong_type(v, "a number", err);
}

static enum rc check_attempts(struct cv *v, struct err *err)
{
    if (v->type == CV_STRING) {
        if (strcmp(v->string, "unlimited") != 0 && strcmp(v->string, "infinite") != 0)
            return err_set(err, RC_INVALID,
                           "invalid value: string \"%s\", expected a positive integer or \"unlimited\"",
                           v->string);
        become_string(v, xstrdup("unlimited"));
        return RC_OK;
    }
    return check_int(v, 1, UINT32_MAX, "a positive integer or \"unlimited\"", err);
}

static enum rc check_range(struct cv *v, struct err *err)
{
    if (v->type != CV_STRING)
        return wrong_type(v, "a duration range such as \"250ms..1m\"", err);
    char *dots = strstr(v->string, "..");
    if (!dots)
        return err_set(err, RC_INVALID, "missing '..' range separator");
    uint64_t ns;
    if (duration_parse(slice_make(v->string, (size_t)(dots - v->string)), &ns, err) != RC_OK)
        return RC_INVALID;
    return duration_parse(slice_cstr(dots + 2), &ns, err);
}

static enum rc check_rate(struct cv *v, struct err *err)
{
    struct cv *rate = v->type == CV_TABLE ? cv_member(v, "rate") : NULL;
    if (!rate)
        return err_set(err, RC_INVALID, "expected a table with `rate` and `capacity`");
    if (is_int(rate) && rate->integer > 0)
        return RC_OK;
    long n = rate->type == CV_STRING ? strtol(rate->string, NULL, 10) : 0;
    if (n < 1)
        return err_set(err, RC_INVALID, "invalid rate, expected N or N/unit with N from 1");
    struct cv *capacity = cv_member(v, "capacity");
    return capacity ? check_int(capacity, 1, UINT32_MAX, "a positive integer", err) : RC_OK;
}

enum rc config_key_check(const struct config_key *key, struct cv *v, struct err *err)
{
    switch (key->type) {
    case K_BOOL:
        return v->type == CV_BOOL ? RC_OK : wrong_type(v, "a boolean", err);
    case K_STRING:
    case K_PATH:
        return check_string(v, err);
    case K_INT:
        return check_int(v, 0, UINT32_MAX, "a non-negative integer", err);
    case K_INT_POSITIVE:
        return check_int(v, 1, INT64_MAX, "a positive integer", err);
    case K_U8_POSITIVE:
        return check_int(v, 1, 255, "a nonzero u8", err);
    case K_PORT:
        return check_int(v, 0, 65535, "u16", err);
    case K_FLOAT:
        return check_float(v, err);
    case K_DURATION:
        return check_duration(v, false, err);
    case K_DURATION_POSITIVE:
        return check_duration(v, true, err);
    case K_BYTES:
        return check_bytes(v, false, err);
    case K_BYTES_POSITIVE:
        return check_bytes(v, true, err);
    case K_ENUM:
        return check_enum(key->choices, v, err);
    case K_ROLES:
        return check_roles(v, err);
    case K_STRING_LIST:
        return check_list(v, check_string, err);
    case K_STRING_TABLE:
        return check_string_table(v, strstr(key->path, "headers") != NULL, err);
    case K_REPLICATION:
        return check_replication(v, err);
    case K_LOCATION:
        return check_location(v, err);
    case K_BIND_ADDRESS:
        return check_bind_address(key, v, err);
    case K_IP: {
        bool v6;
        if (v->type != CV_STRING)
            return wrong_type(v, "an IP address", err);
        return is_ip(v->string, &v6)
                   ? RC_OK
                   : err_set(err, RC_INVALID, "invalid IP address syntax: \"%s\"", v->string);
    }
    case K_ADDRESS:
        return check_address(v, err);
    case K_ADDRESS_LIST:
        return check_list(v, check_address, err);
    case K_RETRY:
        return check_retry(v, err);
    case K_ATTEMPTS:
        return check_attempts(v, err);
    case K_RANGE:
        return check_range(v, err);
    case K_RATE:
        return check_rate(v, err);
    case K_NO_PROXY:
        return v->type == CV_STRING ? RC_OK : check_list(v, check_string, err);
    case K_TABLE_LIST:
        return config_check_kafka_clusters(v, err);
    case K_REMOVED:
        return RC_OK;
    }
    UNREACHABLE("key type %d", (int)key->type);
}

/* ---- printing ---- */

static void print_duration(struct writer *w, int64_t ns)
{
    write_u8(w, '"');
    duration_format(w, (uint64_t)ns);
    write_u8(w, '"');
}

static void print_plain(const struct cv *v, struct writer *w)
{
    switch (v->type) {
    case CV_STRING:
    case CV_CHAR:
        write_json_string(w, slice_cstr(v->string));
        break;
    case CV_INT:
    case CV_UINT:
        write_fmt(w, "%lld", (long long)v->integer);
        break;
    case CV_FLOAT: {
        char text[40];
        snprintf(text, sizeof(text), "%.15g", v->number);
        write_fmt(w, strpbrk(text, ".en") ? "%s" : "%s.0", text);
        break;
    }
    case CV_BOOL:
        write_fmt(w, v->boolean ? "true" : "false");
        break;
    case CV_LIST:
        write_u8(w, '[');
        for (size_t i = 0; i < v->len; i++) {
            if (i)
                write_fmt(w, ", ");
            print_plain(v->items[i], w);
        }
        write_u8(w, ']');
        break;
    case CV_TABLE:
        write_fmt(w, "{ ");
        for (size_t i = 0; i < v->len; i++) {
            if (i)
                write_fmt(w, ", ");
            write_json_string(w, slice_cstr(v->items[i]->key));
            write_fmt(w, " = ");
            if (is_int(v->items[i]) && strstr(v->items[i]->key, "interval"))
                print_duration(w, v->items[i]->integer);
            else
                print_plain(v->items[i], w);
        }
        write_fmt(w, " }");
        break;
    }
}

void config_key_print(const struct config_key *key, const struct cv *v, struct writer *w)
{
    switch (key->type) {
    case K_DURATION:
    case K_DURATION_POSITIVE:
        print_duration(w, v->integer);
        break;
    case K_BYTES:
    case K_BYTES_POSITIVE:
        write_u8(w, '"');
        byte_size_format(w, (uint64_t)v->integer);
        write_u8(w, '"');
        break;
    default:
        print_plain(v, w);
    }
}
