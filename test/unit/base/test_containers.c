/* Intrusive containers against naive models: order, removal, stability, balance, iteration while removing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/containers.h"

static uint64_t rng_state = 88172645463325252ull;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    return rng_state ^= rng_state << 17;
}

struct item {
    struct list link;
    struct hmap_node hash_node;
    struct omap_node tree_node;
    struct heap_node heap_node;
    uint64_t value;
    bool present;
};

static void test_list(void **state)
{
    struct list a, b;
    struct item items[6];
    list_init(&a);
    list_init(&b);
    list_splice(&a, &b); /* both empty */
    assert_true(list_empty(&a));
    for (int i = 0; i < 6; i++) {
        list_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
        list_push_back(i < 3 ? &a : &b, &items[i].link);
        assert_true(list_linked(&items[i].link));
    }
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    int i = 0;
    LIST_FOREACH(pos, &a) assert_ptr_equal(CONTAINER_OF(pos, struct item, link), &items[i++]);
    assert_int_equal(i, 6);
    LIST_FOREACH_SAFE(pos, tmp, &a) list_remove(pos);
    assert_null(list_pop_front(&a));
}

static void test_hmap(void **state)
{
    enum { N = 5000 };
    struct item *items = xcalloc(N, sizeof(*items));
    struct hmap m;
    struct hmap_iter it;
    hmap_init(&m);
    assert_null(hmap_first(&m, 1));
    assert_null(hmap_begin(&m, &it));
    for (size_t i = 0; i < N; i++) {
        items[i].value = i / 2; /* every hash twice: duplicates are allowed */
        hmap_insert(&m, &items[i].hash_node, items[i].value);
    }
    assert_int_equal(m.count, N);
    for (size_t v = 0; v < N / 2; v++) {
        size_t n = 0;
        for (struct hmap_node *h = hmap_first(&m, v); h; h = hmap_next_same(h), n++)
            assert_int_equal(CONTAINER_OF(h, struct item, hash_node)->value, v);
        assert_int_equal(n, 2);
    }
    /* Remove and "free" the current node while iterating. */
    size_t seen = 0;
    for (struct hmap_node *h = hmap_begin(&m, &it); h; h = hmap_step(&m, &it)) {
        struct item *x = CONTAINER_OF(h, struct item, hash_node);
        assert_false(x->present);
        x->present = true;
        seen++;
        if (x->value % 3 == 0) {
            hmap_remove(&m, h);
            memset(&x->hash_node, 0xaa, sizeof(x->hash_node));
        }
    }
    assert_int_equal(seen, N);
    for (size_t v = 0; v < N / 2; v++)
        assert_true((hmap_first(&m, v) == NULL) == (v % 3 == 0));
    hmap_free(&m);
    free(items);
}

static int cmp_items(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct item, tree_node)->value,
             y = CONTAINER_OF(b, struct item, tree_node)->value;
    return x < y ? -1 : x > y;
}

static int cmp_key(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct item, tree_node)->value;
    return x < y ? -1 : x > y;
}

static int check_balance(const struct omap_node *n, const struct omap_node *parent)
{
    if (!n)
        return 0;
    assert_ptr_equal(n->parent, parent);
    int l = check_balance(n->left, n), r = check_balance(n->right, n);
    assert_int_equal(n->balance, r - l);
    assert_in_range(r - l + 1, 0, 2);
    return 1 + MAX(l, r);
}

static void check_against_model(const struct omap *m, struct item *items, size_t n)
{
    check_balance(m->root, NULL);
    size_t count = 0;
    struct omap_node *node = omap_first(m), *last = NULL;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = items[i].value;
        assert_ptr_equal(omap_find(m, &key, cmp_key), items[i].present ? &items[i].tree_node : NULL);
        struct omap_node *bound = omap_lower_bound(m, &key, cmp_key);
        assert_ptr_equal(bound, node); /* the model is ordered: the first present at or after i */
        if (!items[i].present)
            continue;
        last = node;
        node = omap_next(node);
        count++;
    }
    assert_null(node);
    assert_ptr_equal(omap_last(m), last);
    assert_int_equal(m->count, count);
}

static void test_omap(void **state)
{
    enum { N = 300 };
    struct item *items = xcalloc(N, sizeof(*items));
    struct omap m;
    omap_init(&m, cmp_items);
    for (size_t i = 0; i < N; i++)
        items[i].value = i * 10;
    for (int round = 0; round < 6000; round++) {
        struct item *x = &items[rng() % N];
        bool grow = rng() % 100 < (round / 1000 % 2 ? 30u : 70u);
        if (grow && x->present) {
            struct item twin = {.value = x->value};
            assert_ptr_equal(omap_insert(&m, &twin.tree_node), &x->tree_node);
        } else if (grow) {
            assert_null(omap_insert(&m, &x->tree_node));
            x->present = true;
        } else if (x->present) {
            omap_remove(&m, &x->tree_node);
            x->present = false;
        }
        if (round % 20 == 0)
            check_against_model(&m, items, N);
    }
    while (m.root) {
        CONTAINER_OF(m.root, struct item, tree_node)->present = false;
        omap_remove(&m, m.root);
        check_balance(m.root, NULL);
    }
    assert_null(omap_first(&m));
    free(items);
}

static void test_heap_is_stable(void **state)
{
    enum { N = 2000 };
    struct item *items = xcalloc(N, sizeof(*items));
    struct heap h;
    heap_init(&h);
    assert_null(heap_pop(&h));
    for (size_t i = 0; i < N; i++) {
        items[i].value = i;
        heap_node_init(&items[i].heap_node);
        heap_push(&h, &items[i].heap_node, rng() % 50);
    }
    for (size_t i = 0; i < N; i += 3) {
        heap_remove(&h, &items[i].heap_node);
        assert_false(heap_linked(&items[i].heap_node));
    }
    uint64_t last_key = 0, last_order = 0;
    size_t n = 0;
    for (struct heap_node *node; (node = heap_pop(&h)); n++) {
        struct item *x = CONTAINER_OF(node, struct item, heap_node);
        assert_true(x->value % 3 != 0);
        assert_true(node->key > last_key || (node->key == last_key && (n == 0 || x->value > last_order)));
        last_key = node->key;
        last_order = x->value;
    }
    assert_int_equal(n, N - (N + 2) / 3);
    heap_free(&h);
    free(items);
}

static void test_vec(void **state)
{
    struct {
        uint32_t *items;
        size_t len, cap;
    } v = {0};
    for (uint32_t i = 0; i < 1000; i++)
        VEC_PUSH(&v, i);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(v.items[i], i);
    VEC_FREE(&v);
    assert_null(v.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),           cmocka_unit_test(test_hmap), cmocka_unit_test(test_omap),
        cmocka_unit_test(test_heap_is_stable), cmocka_unit_test(test_vec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
