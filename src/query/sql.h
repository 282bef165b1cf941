/* SQL text and its syntax tree (spec/sql.md §11.1): the PostgreSQL dialect as far as clients use it.
 *
 * The tree lives in the arena of the statement. Names of unquoted identifiers are folded to lower case. Types
 * and resolved columns are filled in by the binder (bind.h). */
#pragma once
#include "metadata/arena.h"
#include "query/catalog.h"

#define SQL_DEPTH_MAX    120u /* nesting of expressions and queries */
#define SQL_MESSAGE_SIZE 1024

/* How a statement failed, and what HTTP makes of it (spec/sql.md §8.3). */
enum sql_error_kind {
    SQL_ERROR_NONE,
    SQL_ERROR_PARSE,         /* 400: the message has it all: SQL error: ParserError("...") */
    SQL_ERROR_PLAN,          /* 400: Error during planning: ... */
    SQL_ERROR_PLAN_POSITION, /* 500: the same, where the reference carries a position */
    SQL_ERROR_SCHEMA,        /* 500: Schema error: ... */
    SQL_ERROR_NOT_IMPLEMENTED /* 500: This feature is not implemented: ... */,
    SQL_ERROR_EXECUTION, /* 500: the message as it is */
    SQL_ERROR_RESOURCES, /* 500: Resources exhausted: ... */
    SQL_ERROR_CANCELED,
    SQL_ERROR_UNAVAILABLE, /* 503 */
};
struct sql_error {
    enum sql_error_kind kind;
    char message[SQL_MESSAGE_SIZE]; /* without the prefix of the kind */
};
/* Keeps the first error. Returns false. */
bool sql_fail(struct sql_error *e, enum sql_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- tokens ---- */
enum token_kind {
    TOKEN_END,
    TOKEN_WORD,   /* text folded to lower case */
    TOKEN_QUOTED, /* "name" */
    TOKEN_STRING, /* 'text', E'...' */
    TOKEN_NUMBER,
    TOKEN_PARAMETER, /* $1: text "1" */
    TOKEN_SYMBOL,    /* an operator or punctuation, verbatim */
};
struct token {
    enum token_kind kind;
    const char *text; /* NUL-terminated, without quotes */
    size_t len;       /* of text: strings may hold no NUL, so this equals strlen */
    const char *raw;  /* as written (words keep their case) */
    uint32_t line, column;
};
/* The tokens of `sql`, ended by TOKEN_END. False with `err` if it cannot be cut. */
bool sql_tokenize(struct arena *a, struct slice sql, struct token **out, size_t *n, struct sql_error *err);

/* ---- expressions ---- */
enum expr_kind {
    E_NULL,   /* integer: n of the parameter $n, 0: none */
    E_BOOL,   /* integer */
    E_INT,    /* integer */
    E_UINT,   /* above 2^63-1: integer as its bits */
    E_FLOAT,  /* real */
    E_STRING, /* text */
    E_INTERVAL,
    E_TIME,   /* integer: nanoseconds; TIMESTAMP '...', now() */
    E_DATE,   /* integer: days */
    E_COLUMN, /* names */
    E_STAR,   /* only inside count(*) and in select lists; qualifier in names[0] */
    E_CALL,
    E_NEGATE,
    E_BINARY, /* op: + - * / % || = != < <= > >= -> ->> ~ ~* !~ !~* & | # << >> */
    E_AND,    /* any number of args */
    E_OR,
    E_NOT,
    E_IS,          /* text: NULL, TRUE, FALSE, UNKNOWN; negated */
    E_IS_DISTINCT, /* negated: IS NOT DISTINCT FROM */
    E_BETWEEN,     /* x, low, high */
    E_IN,          /* x, items... */
    E_IN_QUERY,    /* x; query */
    E_LIKE,        /* x, pattern; flag: ILIKE */
    E_SIMILAR,
    E_CASE, /* flag: args[0] is the operand; then when, then pairs; last one is ELSE if odd */
    E_CAST, /* x; cast_type */
    E_EXISTS,
    E_SUBQUERY,
    E_ARRAY,
    E_SUBSCRIPT,
};
struct select;
struct order_item {
    struct expr *expr;
    bool descending, nulls_given, nulls_first;
};
struct order_list {
    struct order_item *items;
    size_t n;
};
struct window {
    struct expr **partition;
    size_t n_partition;
    struct order_list order;
    const char *frame; /* checked text, NULL: none */
};
struct bound_column;
struct expr {
    enum expr_kind kind;
    bool negated, flag, distinct;
    const char *op; /* E_BINARY; E_CALL: the function's name; E_IS: the word */
    int64_t integer;
    double real;
    struct slice text; /* E_STRING; E_INTERVAL: the literal as written */
    struct sql_interval interval;
    const char *names[4]; /* E_COLUMN: qualifiers and the name, last one is names[n_names - 1] */
    unsigned n_names;
    struct expr **args;
    size_t n_args;
    struct select *query;
    struct order_list order; /* inside an aggregate's parentheses */
    struct expr *filter;
    struct window *window;
    enum sql_type cast_type;
    bool cast_try;
    uint32_t line, column;

    /* filled in by the binder */
    enum sql_type type;
    bool nullable;
    bool bound;
    bool aggregate; /* this very call is one */
    bool parenthesized;
    const struct bound_column *target; /* E_COLUMN */
    struct expr *alias_of;             /* E_COLUMN that names an output column: what it stands for */
    const struct sql_function *function;
};

/* ---- queries ---- */
enum join_kind { JOIN_COMMA, JOIN_CROSS, JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL };
enum from_kind { FROM_TABLE, FROM_QUERY, FROM_JOIN };
struct from_item {
    enum from_kind kind;
    const char *schema, *name; /* FROM_TABLE; schema NULL: not given */
    struct select *query;
    const char *alias; /* NULL: none */
    const char **column_aliases;
    size_t n_column_aliases;
    /* FROM_JOIN */
    enum join_kind join;
    struct from_item *left, *right;
    struct expr *on;
    const char **using_names;
    size_t n_using;
    bool natural;
    struct bound_item *bound;
};
struct select_item {
    struct expr *expr; /* E_STAR: all columns, of names[0] if given */
    const char *alias; /* NULL */
};
enum set_op { SET_NONE, SET_UNION, SET_EXCEPT, SET_INTERSECT };
struct cte {
    const char *name;
    struct select *query;
    const char **column_aliases;
    size_t n_column_aliases;
    bool recursive;  /* it may name itself: query is <start> UNION [ALL] <step> */
    unsigned number; /* binder */
};
/* A query: either a SELECT core, VALUES, or a set operation of two queries; with WITH, ORDER BY, LIMIT
 * around. */
struct select {
    struct cte *ctes;
    size_t n_ctes;

    enum set_op set_op;
    bool set_all;
    struct select *left, *right;

    struct expr ***values; /* rows */
    size_t n_values, values_width;

    bool distinct;
    struct expr **distinct_on; /* DISTINCT ON (...) */
    size_t n_distinct_on;
    struct select_item *items;
    size_t n_items;
    struct from_item *from; /* NULL: none */
    struct expr *where;
    struct expr **group_by;
    size_t n_group_by;
    struct expr *having;

    struct order_list order;
    struct expr *limit, *offset;

    struct bound_query *bound; /* binder */
};

enum statement_kind { STATEMENT_QUERY, STATEMENT_SET, STATEMENT_EXPLAIN };
struct statement {
    enum statement_kind kind;
    struct select *query;
};
/* Exactly one statement, semicolons after it allowed. DESCRIBE and SHOW come back as queries of
 * information_schema in `context`. */
bool sql_parse(struct arena *a, struct slice sql, enum sql_context context, struct statement *out,
               struct sql_error *err);
