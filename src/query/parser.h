/* Shared by the files of the parser. Every function returns NULL or false after having set the error. */
#pragma once
#include "base/containers.h"
#include "query/sql.h"

struct parser {
    struct arena *arena;
    enum sql_context context;
    const struct token *tokens;
    size_t at;
    unsigned depth;
    struct sql_error *err;
};

static inline const struct token *peek(const struct parser *p)
{
    return &p->tokens[p->at];
}
/* The token `n` ahead; the end of the text stays the end. */
const struct token *peek_at(const struct parser *p, size_t n);
static inline bool token_is(const struct token *t, enum token_kind kind, const char *text)
{
    return t->kind == kind && strcmp(t->text, text) == 0;
}
bool at_word(const struct parser *p, const char *word);
bool at_symbol(const struct parser *p, const char *symbol);
bool take_word(struct parser *p, const char *word);
bool take_symbol(struct parser *p, const char *symbol);
/* Both words in a row. */
bool take_words(struct parser *p, const char *first, const char *second);
bool expect_symbol(struct parser *p, const char *symbol);
bool expect_word(struct parser *p, const char *word);
/* "Expected: `what`, found: ..." */
bool parse_refuse(struct parser *p, const char *what);
bool parse_enter(struct parser *p); /* one level deeper; p->depth-- on the way out */
/* A name: a word that is not reserved, or a quoted one. */
const char *take_name(struct parser *p);
bool word_reserved(const char *word);

struct expr *expr_new(struct parser *p, enum expr_kind kind);
struct expr *parse_expr(struct parser *p);
struct expr *parse_before_in(struct parser *p);         /* what stands before IN */
struct expr **parse_exprs(struct parser *p, size_t *n); /* comma separated, at least one */
bool parse_order(struct parser *p, struct order_list *out);
struct select *parse_query(struct parser *p);
bool parse_type(struct parser *p, enum sql_type *out);
struct expr *parse_primary(struct parser *p); /* parser_primary.c */
struct expr *parse_call(struct parser *p);
