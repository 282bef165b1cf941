/* From syntax to something that SQLite can run: names are resolved, every expression gets its type, and the
 * statement is written again as SQLite SQL over generated names (spec/sql.md §11, §13).
 *
 * In the written text tables are `v<table id> AS t<n>` with columns c0, c1, ...; derived tables and CTEs have
 * columns c0, c1, ... too, so that no name of a user reaches SQLite. */
#pragma once
#include "query/sql.h"

struct bound_column {
    const char *name;
    const char *qualifier; /* NULL: none */
    enum sql_type type;
    bool nullable;
    bool hidden;                     /* the other side of USING: not in *, not found by its bare name */
    const char *emit;                /* "t3.c1" */
    const struct sql_column *source; /* of a base table, else NULL */
};
struct bound_item {
    struct bound_column **columns;
    size_t n;
    unsigned number; /* t<number> */
    const struct sql_table *table;
    const struct cte *cte;
};
struct bound_output {
    struct expr *expr; /* NULL: the column of a set operation or VALUES */
    const char *name, *qualifier;
    enum sql_type type;
    bool nullable;
};
struct bound_query {
    struct bound_output *outputs;
    size_t n;
    bool grouped;
    size_t *order_output;  /* per ORDER BY item: position of an output + 1, or 0 */
    struct expr **unnests; /* calls of unnest in the select list */
    size_t n_unnests;
    unsigned first_unnest; /* u<number> */
};

struct scope;
struct binder {
    struct arena *arena;
    struct sql_error *err;
    enum sql_context context;
    int64_t now_ns; /* what now() is in this statement */
    /* What each $n is taken as where it stands; SQL_NULL: anything. Only when a statement is described: to
     * run, it has values in their place. */
    enum sql_type *parameters;
    size_t n_parameters;
    unsigned next_number, next_cte;
    unsigned depth;
    struct scope *scope;
    struct cte_scope *ctes;
};

/* Fills in `s->bound` and everything below. */
bool bind_query(struct binder *b, struct select *s);

/* Inside the binder. */
struct scope {
    struct scope *parent;
    struct bound_column **columns;
    size_t n;
    struct bound_query *outputs; /* aliases that may be referred to; NULL: none */
    bool outputs_first;          /* ORDER BY: an alias hides a column */
    bool has_aggregate;
};
struct cte_scope {
    struct cte_scope *parent;
    struct cte *cte;
};
bool bind_expr(struct binder *b, struct expr *e);
bool bind_call(struct binder *b, struct expr *e);
/* A top-level AND term of WHERE: checks literals against id columns (spec/sql.md §7). */
bool bind_check_ids(struct binder *b, const struct expr *where);
/* The type that both sides of a comparison are brought to; SQL_TYPES if there is none. */
enum sql_type sql_compare_type(const struct expr *a, const struct expr *b);
/* The type of the result of COALESCE, CASE, UNION over these two; SQL_TYPES if there is none. */
enum sql_type sql_common_type(enum sql_type a, enum sql_type b);
bool expr_equal(const struct expr *a, const struct expr *b);
bool expr_is_constant(const struct expr *e);
/* What the reference calls an output column that has no alias (spec/sql.md §11.4). */
const char *expr_name(struct binder *b, const struct expr *e);

/* The statement as SQLite SQL. False if a literal does not fit its type. */
bool emit_query(struct binder *b, const struct select *s, struct writer *out);

/* ---- functions (functions.c) ---- */
enum function_class { FUNCTION_SCALAR, FUNCTION_AGGREGATE, FUNCTION_WINDOW };
enum function_result {
    RESULT_BOOL,
    RESULT_I32,
    RESULT_I64,
    RESULT_U64,
    RESULT_F64,
    RESULT_UTF8,
    RESULT_BINARY,
    RESULT_TIME_NS,
    RESULT_SAME,   /* of the first argument */
    RESULT_TEXT,   /* the text type of the first argument */
    RESULT_COMMON, /* of all arguments */
    RESULT_SECOND, /* of the second argument, a time */
    RESULT_SUM,
    RESULT_LIST, /* of the first argument's type */
    RESULT_ELEMENT,
    RESULT_PART,    /* date_part */
    RESULT_LENGTH,  /* Int64 of LargeUtf8, Int32 of other texts */
    RESULT_AVERAGE, /* Duration of durations, else Float64 */
};
/* How the call is written. */
enum function_form {
    FORM_PLAIN,   /* name(args) */
    FORM_COMMON,  /* name(args), all brought to the common type */
    FORM_BIN,     /* date_bin */
    FORM_TRUNC,   /* date_trunc, date_part: the unit of the time is passed too */
    FORM_TO_TIME, /* to_timestamp...: scale in `emit` */
    FORM_UNIXTIME,
    FORM_COUNT,
    FORM_AGGREGATE, /* one argument; ordered: <emit>_by(x, spec, keys...) */
    FORM_LIST,      /* array_agg: element type as further argument */
    FORM_STRING_AGG,
    FORM_CONSTANT, /* folded by the binder */
    FORM_UNNEST,
    FORM_TYPEOF,
    FORM_ARROW_CAST,
    FORM_HAS, /* array_has: the element as text */
};
struct sql_function {
    const char *name;
    enum function_class class;
    /* One letter per argument: a any, s text, n number, d number or duration, i integer, t time, p time or
     * duration, l list, b boolean, v interval;
     * after '?' arguments may be left out; '*' at the end repeats the last. */
    const char *args;
    enum function_result result;
    enum function_form form;
    const char *emit; /* the function of SQLite, or of functions*.c */
    bool not_null;    /* the result never is NULL */
};
const struct sql_function *sql_function_find(const char *name);
