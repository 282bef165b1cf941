/* Shared by the files that write SQLite SQL. An error is kept in the binder's `err`; writing goes on. */
#pragma once
#include "query/bind.h"

struct emitter {
    struct binder *b;
    struct writer *w;
    unsigned depth;
};
/* `e`, maybe a parameter, stands where a `type` is wanted. */
void emit_wanted(struct emitter *m, const struct expr *e, enum sql_type type);
void emit_text(struct emitter *m, const char *text);
void emit_expr(struct emitter *m, const struct expr *e);
/* Converted to `type`. */
void emit_as(struct emitter *m, const struct expr *e, enum sql_type type);
void emit_call(struct emitter *m, const struct expr *e);
void emit_order(struct emitter *m, const struct order_list *order, const struct bound_query *outputs);
void emit_select(struct emitter *m, const struct select *s, const enum sql_type *types);
void emit_string(struct emitter *m, struct slice text);
