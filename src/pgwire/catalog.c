/* Answers about the server itself (pgwire/catalog.h). The statements of psql are recognised by what they read
 * and select, not by their whole text, which differs between its releases. */
#define _GNU_SOURCE /* memmem */
#include "pgwire/catalog.h"

#include <stdio.h>
#include <stdlib.h>

#include "pgwire/value.h"

#define FIRST_TABLE_OID 16384u

/* ---- cutting ---- */

/* Past blanks and comments. */
static struct slice skip_blanks(struct slice s)
{
    for (;;) {
        size_t n = 0;
        while (n < s.len && (s.ptr[n] <= ' ' || s.ptr[n] == ';'))
            n++;
        s = slice_sub(s, n, s.len - n);
        if (!slice_starts_with(s, SLICE_LIT("--")))
            return s;
        ptrdiff_t end = slice_find(s, '\n', 0);
        s = end < 0 ? slice_sub(s, s.len, 0) : slice_sub(s, (size_t)end, s.len - (size_t)end);
    }
}

struct slice pg_first_statement(struct slice sql, struct slice *rest)
{
    struct slice s = skip_blanks(sql);
    size_t i = 0;
    char quote = 0;
    unsigned comment = 0;
    for (; i < s.len; i++) {
        char c = (char)s.ptr[i], next = i + 1 < s.len ? (char)s.ptr[i + 1] : 0;
        if (comment) {
            if (c == '*' && next == '/')
                comment--, i++;
            else if (c == '/' && next == '*')
                comment++, i++;
        } else if (quote) {
            if (c == '\\' && quote == 'e')
                i++;
            else if (c == (quote == 'e' ? '\'' : quote))
                quote = 0;
        } else if (c == '\'' || c == '"') {
            quote = c == '\'' && i && (s.ptr[i - 1] | 32) == 'e' ? 'e' : c;
        } else if (c == '-' && next == '-') {
            while (i + 1 < s.len && s.ptr[i + 1] != '\n')
                i++;
        } else if (c == '/' && next == '*') {
            comment = 1;
            i++;
        } else if (c == ';') {
            break;
        }
    }
    i = MIN(i, s.len);
    *rest = slice_sub(s, i, s.len - i);
    return slice_sub(s, 0, i);
}

static struct slice next_word(struct slice *s)
{
    *s = skip_blanks(*s);
    size_t n = 0;
    while (n < s->len && (s->ptr[n] == '_' || s->ptr[n] == '.' || (unsigned)(s->ptr[n] | 32) - 'a' < 26 ||
                          (unsigned)s->ptr[n] - '0' < 10))
        n++;
    struct slice word = slice_sub(*s, 0, n);
    *s = slice_sub(*s, n, s->len - n);
    return word;
}

static bool has(struct slice s, const char *text)
{
    return memmem(s.ptr, s.len, text, strlen(text)) != NULL;
}

/* ---- results ---- */

static void column(struct pg_local *l, const char *name, enum sql_type type)
{
    ASSERT(l->n_columns < PG_LOCAL_COLUMNS);
    l->columns[l->n_columns++] = (struct result_column){name, type, true};
}

static void texts(struct pg_local *l, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        column(l, names[i], SQL_UTF8);
}
#define TEXTS(l, ...)                                                                                        \
    texts(l, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

void pg_local_free(struct pg_local *l)
{
    row_set_free(&l->rows);
}

/* ---- SHOW ---- */

static void show(struct slice name, struct pg_local *l)
{
    static const struct {
        const char *name, *value;
    } parameters[] = {
        {"server_version", "15.0"},
        {"server_version_num", "150000"},
        {"server_encoding", "UTF8"},
        {"client_encoding", "UTF8"},
        {"transaction_isolation", "read committed"},
        {"default_transaction_isolation", "read committed"},
        {"timezone", "UTC"},
        {"search_path", "public"},
        {"standard_conforming_strings", "on"},
        {"max_identifier_length", "63"},
        {"datestyle", "ISO, MDY"},
        {"intervalstyle", "postgres"},
        {"integer_datetimes", "on"},
    };
    bool level = slice_eq_nocase(name, SLICE_LIT("transaction")); /* TRANSACTION ISOLATION LEVEL */
    column(l, "setting", SQL_UTF8);
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        if (slice_eq_nocase(name, slice_cstr(parameters[i].name)) || (level && i == 4)) {
            l->columns[0].name = parameters[i].name;
            row_text(&l->rows, slice_cstr(parameters[i].value));
            row_end(&l->rows);
            return;
        }
    row_text(&l->rows, SLICE_LIT(""));
    row_end(&l->rows);
}

/* ---- psql ---- */

/* The name in  OPERATOR(pg_catalog.~) '^(name)$' ; ptr NULL: none. */
static struct slice wanted_name(struct slice sql)
{
    static const char before[] = "OPERATOR(pg_catalog.~) '^(";
    const uint8_t *p = memmem(sql.ptr, sql.len, before, sizeof(before) - 1);
    if (!p)
        return SLICE_EMPTY;
    p += sizeof(before) - 1;
    size_t left = (size_t)(sql.ptr + sql.len - p), n = 0;
    while (n < left && p[n] != ')')
        n++;
    return slice_make(p, n);
}

/* The table of  <column> = '16390'. */
static const struct sql_table *wanted_table(struct slice sql, const char *column_name)
{
    char before[40];
    snprintf(before, sizeof(before), "%s = '", column_name);
    const uint8_t *p = memmem(sql.ptr, sql.len, before, strlen(before));
    if (!p)
        return NULL;
    p += strlen(before);
    uint64_t oid = 0;
    while (p < sql.ptr + sql.len && (unsigned)*p - '0' < 10 && oid < UINT32_MAX)
        oid = oid * 10 + (*p++ - '0');
    return oid >= FIRST_TABLE_OID && oid < FIRST_TABLE_OID + SQL_TABLES ? &sql_tables[oid - FIRST_TABLE_OID]
                                                                        : NULL;
}

static bool shown(const struct sql_table *t)
{
    return !t->hidden && !sql_table_is_information(t->id) && sql_table_in(t, SQL_CONTEXT_ADMIN);
}

static void list_relations(struct slice sql, struct pg_local *l)
{
    struct slice name = wanted_name(sql);
    bool tables = has(sql, "IN ('r'"), views = has(sql, "'v',");
    TEXTS(l, "Schema", "Name", "Type", "Owner");
    for (size_t i = 0; i < SQL_TABLES; i++) {
        const struct sql_table *t = &sql_tables[i];
        if (!shown(t) || (t->view ? !views : !tables) || (name.ptr && !slice_eq_cstr(name, t->name)))
            continue;
        row_fmt(&l->rows, "public");
        row_fmt(&l->rows, "%s", t->name);
        row_fmt(&l->rows, "%s", t->view ? "view" : "table");
        row_fmt(&l->rows, "restate");
        row_end(&l->rows);
    }
}

static void find_relations(struct slice sql, struct pg_local *l)
{
    struct slice name = wanted_name(sql);
    TEXTS(l, "oid", "nspname", "relname");
    for (size_t i = 0; i < SQL_TABLES; i++) {
        if (!shown(&sql_tables[i]) || (name.ptr && !slice_eq_cstr(name, sql_tables[i].name)))
            continue;
        row_fmt(&l->rows, "%u", FIRST_TABLE_OID + (unsigned)i);
        row_fmt(&l->rows, "public");
        row_fmt(&l->rows, "%s", sql_tables[i].name);
        row_end(&l->rows);
    }
}

static void describe_relation(struct slice sql, struct pg_local *l)
{
    const struct sql_table *t = wanted_table(sql, "c.oid");
    column(l, "relchecks", SQL_I32);
    column(l, "relkind", SQL_UTF8);
    static const char *const flags[] = {"relhasindex",    "relhasrules",         "relhastriggers",
                                        "relrowsecurity", "relforcerowsecurity", "relhasoids",
                                        "relispartition"};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        column(l, flags[i], SQL_BOOL);
    column(l, "?column?", SQL_UTF8);
    column(l, "reltablespace", SQL_I32);
    TEXTS(l, "reloftype", "relpersistence", "relreplident", "amname");
    if (!t)
        return;
    row_int(&l->rows, 0);
    row_fmt(&l->rows, "%s", t->view ? "v" : "r");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        row_bool(&l->rows, false);
    row_text(&l->rows, SLICE_LIT(""));
    row_int(&l->rows, 0);
    row_text(&l->rows, SLICE_LIT(""));
    row_fmt(&l->rows, "p");
    row_fmt(&l->rows, "d");
    row_null(&l->rows);
    row_end(&l->rows);
}

static const char *format_type(enum sql_type t)
{
    switch (pg_type_of(t)) {
    case PG_BOOL:
        return "boolean";
    case PG_BYTEA:
        return "bytea";
    case PG_INT4:
        return "integer";
    case PG_INT8:
        return "bigint";
    case PG_NUMERIC:
        return "numeric";
    case PG_FLOAT8:
        return "double precision";
    case PG_TIMESTAMP:
        return "timestamp without time zone";
    case PG_DATE:
        return "date";
    case PG_INTERVAL:
        return "interval";
    case PG_INT8_ARRAY:
        return "bigint[]";
    case PG_TEXT_ARRAY:
        return "character varying[]";
    default:
        return "character varying";
    }
}

static void describe_columns(struct slice sql, struct pg_local *l)
{
    const struct sql_table *t = wanted_table(sql, "a.attrelid");
    TEXTS(l, "attname", "format_type", "pg_get_expr");
    column(l, "attnotnull", SQL_BOOL);
    TEXTS(l, "attcollation", "attidentity", "attgenerated");
    for (size_t i = 0; t && i < t->n_columns; i++) {
        row_fmt(&l->rows, "%s", t->columns[i].name);
        row_fmt(&l->rows, "%s", format_type(t->columns[i].type));
        row_null(&l->rows);
        row_bool(&l->rows, t->columns[i].not_null);
        row_null(&l->rows);
        row_text(&l->rows, SLICE_LIT(""));
        row_text(&l->rows, SLICE_LIT(""));
        row_end(&l->rows);
    }
}

static void list_schemas(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "Name", "Owner");
    row_fmt(&l->rows, "public");
    row_fmt(&l->rows, "restate");
    row_end(&l->rows);
}

/* What pools of asyncpg ask of a connection that comes back. */
static void unlock_all(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "pg_advisory_unlock_all");
    row_fmt(&l->rows, "%s", "");
    row_end(&l->rows);
}

/* Things that do not exist here: their columns, no rows. */
static void no_policies(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "polname", "polpermissive", "polroles", "polqual", "polwithcheck", "cmd");
}
static void no_statistics(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "oid", "stxrelid", "nsp", "stxname", "columns", "ndist_enabled", "deps_enabled", "mcv_enabled",
          "stxstattarget");
}
static void no_publications(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "pubname", "pg_get_expr", "columns");
}
static void no_parents(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "regclass");
}
static void no_children(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "regclass", "relkind", "inhdetachpending", "pg_get_expr");
}
static void no_view_definition(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "pg_get_viewdef");
    row_fmt(&l->rows, " built in");
    row_end(&l->rows);
}
static void no_rules(struct slice sql, struct pg_local *l)
{
    TEXTS(l, "rulename", "pg_get_ruledef");
}

/* The first whose texts all occur answers. */
static const struct {
    const char *a, *b;
    void (*answer)(struct slice sql, struct pg_local *l);
} statements[] = {
    {"pg_catalog.pg_policy", "polname", no_policies},
    {"pg_catalog.pg_statistic_ext", "stx", no_statistics},
    {"pg_catalog.pg_publication", "pubname", no_publications},
    {"pg_advisory_unlock_all", "(", unlock_all},
    {"pg_catalog.pg_inherits", "relkind", no_children},
    {"pg_catalog.pg_inherits", "regclass", no_parents},
    {"pg_get_viewdef", "pg_catalog", no_view_definition},
    {"pg_catalog.pg_rewrite", "rulename", no_rules},
    {"pg_catalog.pg_class", "as \"Owner\"", list_relations},
    {"pg_catalog.pg_class", "c.relchecks", describe_relation},
    {"pg_catalog.pg_attribute", "pg_catalog.format_type", describe_columns},
    {"pg_catalog.pg_class", "c.oid,", find_relations},
    {"pg_catalog.pg_namespace", "AS \"Name\"", list_schemas},
};

/* ---- classification ---- */

enum pg_statement pg_classify(struct slice sql, const char **tag)
{
    static const struct {
        const char *word, *tag;
    } tags[] = {
        {"begin", "BEGIN"},
        {"start", "BEGIN"},
        {"commit", "COMMIT"},
        {"end", "COMMIT"},
        {"rollback", "ROLLBACK"},
        {"abort", "ROLLBACK"},
        {"set", "SET"},
        {"reset", "RESET"},
        {"discard", "DISCARD ALL"},
        {"deallocate", "DEALLOCATE"},
        {"close", "CLOSE CURSOR"},
        {"unlisten", "UNLISTEN"},
        {"savepoint", "SAVEPOINT"},
        {"release", "RELEASE"},
    };
    struct slice rest = sql, word = next_word(&rest);
    if (word.len == 0 && rest.len == 0)
        return PG_STATEMENT_EMPTY;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        if (slice_eq_nocase(word, slice_cstr(tags[i].word))) {
            *tag = tags[i].tag;
            return PG_STATEMENT_TAG;
        }
    if (slice_eq_nocase(word, SLICE_LIT("show"))) {
        struct slice what = next_word(&rest);
        bool ours = slice_eq_nocase(what, SLICE_LIT("tables")) || slice_eq_nocase(what, SLICE_LIT("columns"));
        return ours ? PG_STATEMENT_QUERY : PG_STATEMENT_LOCAL;
    }
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        if (has(sql, statements[i].a) && has(sql, statements[i].b))
            return PG_STATEMENT_LOCAL;
    return has(sql, "pg_catalog.pg_") ? PG_STATEMENT_UNKNOWN : PG_STATEMENT_QUERY;
}

void pg_local_answer(struct slice sql, struct pg_local *out)
{
    *out = (struct pg_local){0};
    struct slice rest = sql;
    if (slice_eq_nocase(next_word(&rest), SLICE_LIT("show"))) {
        show(next_word(&rest), out);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        if (has(sql, statements[i].a) && has(sql, statements[i].b)) {
            statements[i].answer(sql, out);
            return;
        }
}
