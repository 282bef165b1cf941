/* Configuration from untrusted bytes: the TOML parser with the type checks of every key, and the grammar of
 * environment values. */
#include <stdlib.h>

#include "base/codec.h"
#include "node/config_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(struct cv *node, const char *prefix)
{
    for (size_t i = 0; i < node->len; i++) {
        char *path = xasprintf("%s%s%s", prefix, *prefix ? "." : "", node->items[i]->key);
        const struct config_key *key = config_key_find(path);
        struct err err = {0};
        if (key && config_key_check(key, node->items[i], &err) == RC_OK) {
            struct writer w = WRITER_INIT;
            config_key_print(key, node->items[i], &w);
            writer_free(&w);
        } else if (node->items[i]->type == CV_TABLE && config_key_is_table(path)) {
            check_tree(node->items[i], path);
        }
        free(path);
    }
}

/* Every key with a value of this grammar: all checks see all types. */
static void check_value(const char *text)
{
    for (size_t i = 0; i < config_key_count; i++) {
        struct cv *v = cv_parse_env(text);
        struct err err = {0};
        (void)config_key_check(&config_keys[i], v, &err);
        cv_free(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv *tree;
    char *message = NULL;
    if (cv_parse_toml(slice_make(data, size), "in fuzz", &tree, &message) == RC_OK) {
        check_tree(tree, "");
        cv_free(tree);
    }
    free(message);
    if (size > 0 && size < 200) {
        char *text = slice_dup_cstr(slice_make(data, size));
        check_value(text);
        free(text);
    }
    return 0;
}
