/* State of one run of the `restate` command-line tool and what its commands share: the admin API, queries,
 * texts (spec/admin-api.md §20 to §25). A client of the admin API only. One thread; memory from the tool's
 * arena unless said otherwise. */
#pragma once
#include "http/client.h"
#include "loop/loop.h"
#include "metadata/json.h"
#include "tool/table.h"
#include "tool/times.h"
#include "tool/tool.h"

/* Where the settings come from; filled by settings_load. */
struct settings {
    const char *config_dir, *config_file, *environment_file;
    const char *environment;        /* name of the profile */
    const char *environment_source; /* for whoami */
    const char *admin_url, *ingress_url, *token;
};

struct cli {
    struct tool *tool;
    struct settings settings;
    struct loop *loop;
    struct http_client *http;
    uint64_t request_timeout_ms;
    enum time_format time_format;
    const char *base; /* admin URL, ends with `/` */
    unsigned version; /* of the admin API that is used; 0: none yet */
    char server_version[32];
    char advertised_ingress[256]; /* "": not said */
    struct {
        json_t **items;
        size_t len, cap;
    } documents; /* freed at the end */
};
static inline struct cli *cli_of(struct tool *t)
{
    return t->app;
}
#define CLI_VERSION         "1.7.12"
#define API_VERSION_MIN     2
#define API_VERSION_MAX     4
#define REPLY_MAX           (512u << 20)
#define LOCAL_ENVIRONMENT   "local"
#define DEFAULT_ADMIN_URL   "http://127.0.0.1:9070/"
#define DEFAULT_INGRESS_URL "http://127.0.0.1:8080/"

/* ---- settings.c ---- */
int settings_load(struct tool *t); /* an exit code */
extern const struct command config_commands[];

/* ---- api.c ---- */
int cli_open(struct tool *t); /* after parsing; an exit code */
void cli_close(struct cli *c);

struct api_call {
    const char *method, *path; /* below the version's prefix; `/` first */
    const char *body;          /* JSON text; NULL: none */
    const char *accept;        /* NULL: any */
    bool no_prefix;
    void (*on_data)(struct api_call *call, struct slice data); /* of a 2xx answer; NULL: kept in `reply` */
    void *user;
    /* the outcome */
    int status; /* 0: no answer */
    const char *content_type;
    struct slice reply; /* NUL-terminated behind its end */
    struct err err;     /* why there was no answer */
    /* private */
    struct cli *cli;
    struct http_stream *stream;
    struct writer buffer;
    struct env_timer deadline;
    size_t *left;
    bool timed_out;
};
/* Negotiates the version first. Prints the error and returns false when no server can be used. */
bool api_ready(struct tool *t);
/* All at once; returns when the last one has ended. */
void api_run(struct tool *t, struct api_call *calls, size_t n);
static inline bool api_good(const struct api_call *call)
{
    return call->status >= 200 && call->status < 300;
}
/* One call, prefix negotiated. NULL and the error printed unless the answer is 2xx JSON. */
json_t *api_get(struct tool *t, const char *path);
json_t *api_send(struct tool *t, const char *method, const char *path, const char *body);
/* 2xx without a look at the body; else the error is printed. */
bool api_do(struct tool *t, const char *method, const char *path, const char *body);
/* `Error: <code> <message>` and where; returns 1. */
int api_failed(struct tool *t, const struct api_call *call);
/* One line: why a call failed. */
const char *api_reason(struct tool *t, const struct api_call *call);
/* The answer as JSON, kept; NULL: it is none (`error`, which may be NULL, says why). */
json_t *api_json(struct tool *t, const struct api_call *call, json_error_t *error);
/* Keep a document until the end of the run. */
json_t *cli_keep(struct tool *t, json_t *doc);
/* `text` as part of a path. */
const char *url_part(struct tool *t, const char *text);

/* ---- query.c: POST /query, answered as JSON ---- */
const char *query_body(struct tool *t, const char *sql); /* of the request */
/* The rows (an array) or NULL, with the error printed. */
json_t *query_rows(struct tool *t, const char *sql);
json_t *query_rowsf(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* First column of the first row of a count. false: failed. */
bool query_count(struct tool *t, const char *sql, int64_t *out);
/* `text` between quotes, quotes doubled. */
const char *sql_text(struct tool *t, const char *text);
/* `('a','b')` of a list option. */
const char *sql_list(struct tool *t, const char *option);

/* ---- texts.c ---- */
const char *jtext(const json_t *object, const char *key); /* "" if absent or no text */
int64_t jint(const json_t *object, const char *key);      /* 0 if absent */
bool jbool(const json_t *object, const char *key);
void print_json(struct tool *t, const json_t *doc); /* indented, also when t->json silences tool_say */
void say_title(struct tool *t, const char *title);
void say_good(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_bad(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_tip(struct tool *t, const char *text);
bool parse_rfc3339(const char *text, uint64_t *wall_ms);
const char *date_text(struct tool *t, const char *rfc3339);  /* `Sun 22 Nov 2026 17:16:05 +00:00` */
const char *stamp_text(struct tool *t, const char *rfc3339); /* `2026-11-22 17:32:05.785 +00:00` */
const char *since_text(struct tool *t, const char *rfc3339); /* `1 second and 3 ms`; "" if absent */
const char *until_text(struct tool *t, const char *rfc3339);
const char *rough_ago_text(struct tool *t, const char *rfc3339); /* `2 minutes ago` */
const char *flavor_text(const char *service_type);               /* "", `virtual object`, `workflow` */

/* ---- deployment_text.c ---- */
const char *deployment_address(const json_t *deployment);
const char *deployment_kind(const json_t *deployment);
/* How many invocations are bound to it and not completed. false: failed. */
bool deployment_active(struct tool *t, const char *id, int64_t *out);
void deployment_rows(struct tool *t, struct table *tb, const json_t *deployment);
/* HANDLER, INPUT, OUTPUT of a service, by name; `active`: rows with service, handler, inv_count, or NULL. */
void handlers_table(struct tool *t, const json_t *service, const json_t *active, unsigned indent);
json_t *find_named(const json_t *array, const char *member, const char *value);
/* Sorted copies of arrays of objects, by a text member. The elements are borrowed. */
const json_t **sorted_by(struct tool *t, const json_t *array, const char *member, size_t *n);

/* ---- invocation_text.c ---- */
/* Q3 rows in the order of `where`/`order`; prints each as `list` does. */
json_t *invocation_rows(struct tool *t, const char *where, const char *order, unsigned limit);
void invocation_print(struct tool *t, const json_t *row);
const char *invocation_status_text(struct tool *t, const json_t *row);
void invocation_details(struct tool *t, struct table *tb, const json_t *row);

/* Options that many commands have. */
#define WATCH_OPTIONS                                                                                        \
    {"watch", 'w', .help = "Show it again and again"},                                                       \
    {                                                                                                        \
        "interval", 'n', "SECONDS", 0, "Seconds between two looks of --watch", .fallback = "1",              \
                                                                               .check = check_seconds        \
    }
enum rc check_seconds(const char *value, struct err *err);
/* Run `once`, or watch it when asked to. */
int cli_watch(struct tool *t, int (*once)(struct tool *t));

#define NO_SERVICES_TEXT                                                                                     \
    "No services were found! Services are added by registering deployments with 'restate dep register'"

/* ---- groups of commands ---- */
extern const struct command restate_root;
extern const struct command deployments_commands[], services_commands[], invocations_commands[],
    state_commands[], subscriptions_commands[], kafka_commands[], rules_commands[], vqueues_commands[],
    service_config_commands[];
extern const struct option sql_options[], whoami_options[];
int sql_run(struct tool *t);
int whoami_run(struct tool *t);
/* parts of a group that stand in files of their own */
int deployments_register_run(struct tool *t);
int services_status_run(struct tool *t);
int invocations_describe_run(struct tool *t);
int invocations_cancel_run(struct tool *t);
int invocations_kill_run(struct tool *t);
int invocations_purge_run(struct tool *t);
int invocations_pause_run(struct tool *t);
int invocations_resume_run(struct tool *t);
int invocations_restart_run(struct tool *t);
