/* Ordered map of intrusive nodes: an AVL tree with parent pointers (base/containers.h).
 * `balance` is height(right) - height(left), always -1, 0 or 1 between calls. */
#include "base/containers.h"

void omap_init(struct omap *m, omap_cmp_fn cmp)
{
    *m = (struct omap){NULL, 0, cmp};
}

/* Put `to` where `from` hangs below `parent`. */
static void replace_child(struct omap *m, struct omap_node *parent, struct omap_node *from,
                          struct omap_node *to)
{
    if (!parent)
        m->root = to;
    else if (parent->left == from)
        parent->left = to;
    else
        parent->right = to;
    if (to)
        to->parent = parent;
}

static void rotate_left(struct omap *m, struct omap_node *x)
{
    struct omap_node *y = x->right;
    x->right = y->left;
    if (x->right)
        x->right->parent = x;
    replace_child(m, x->parent, x, y);
    y->left = x;
    x->parent = y;
}

static void rotate_right(struct omap *m, struct omap_node *x)
{
    struct omap_node *y = x->left;
    x->left = y->right;
    if (x->left)
        x->left->parent = x;
    replace_child(m, x->parent, x, y);
    y->right = x;
    x->parent = y;
}

/* Repair a node whose right side is two levels higher; returns the new top of the subtree. */
static struct omap_node *fix_right_heavy(struct omap *m, struct omap_node *x)
{
    struct omap_node *y = x->right;
    if (y->balance >= 0) {
        rotate_left(m, x);
        x->balance = y->balance == 0 ? 1 : 0;
        y->balance = y->balance == 0 ? -1 : 0;
        return y;
    }
    struct omap_node *z = y->left;
    rotate_right(m, y);
    rotate_left(m, x);
    x->balance = z->balance > 0 ? -1 : 0;
    y->balance = z->balance < 0 ? 1 : 0;
    z->balance = 0;
    return z;
}

static struct omap_node *fix_left_heavy(struct omap *m, struct omap_node *x)
{
    struct omap_node *y = x->left;
    if (y->balance <= 0) {
        rotate_right(m, x);
        x->balance = y->balance == 0 ? -1 : 0;
        y->balance = y->balance == 0 ? 1 : 0;
        return y;
    }
    struct omap_node *z = y->right;
    rotate_left(m, y);
    rotate_right(m, x);
    x->balance = z->balance < 0 ? 1 : 0;
    y->balance = z->balance > 0 ? -1 : 0;
    z->balance = 0;
    return z;
}

/* The subtree at `n` grew by one level: walk up until the growth is absorbed. */
static void rebalance_after_insert(struct omap *m, struct omap_node *n)
{
    for (struct omap_node *p = n->parent; p; n = p, p = p->parent) {
        p->balance += p->right == n ? 1 : -1;
        if (p->balance == 0)
            return;
        if (p->balance == 2) {
            fix_right_heavy(m, p);
            return;
        }
        if (p->balance == -2) {
            fix_left_heavy(m, p);
            return;
        }
    }
}

struct omap_node *omap_insert(struct omap *m, struct omap_node *n)
{
    struct omap_node *parent = NULL, **link = &m->root;
    while (*link) {
        parent = *link;
        int c = m->cmp(n, parent);
        if (c == 0)
            return parent;
        link = c < 0 ? &parent->left : &parent->right;
    }
    *n = (struct omap_node){parent, NULL, NULL, 0};
    *link = n;
    m->count++;
    rebalance_after_insert(m, n);
    return NULL;
}

/* The left (or right) subtree of `p` shrank by one level: walk up until the loss is absorbed. */
static void rebalance_after_remove(struct omap *m, struct omap_node *p, bool left_shrank)
{
    while (p) {
        p->balance += left_shrank ? 1 : -1;
        if (p->balance == 1 || p->balance == -1)
            return; /* was even: the height stays */
        if (p->balance == 2)
            p = fix_right_heavy(m, p);
        else if (p->balance == -2)
            p = fix_left_heavy(m, p);
        if (p->balance != 0)
            return; /* the rotation kept the height */
        left_shrank = p->parent && p->parent->left == p;
        p = p->parent;
    }
}

void omap_remove(struct omap *m, struct omap_node *n)
{
    ASSERT(m->count > 0);
    struct omap_node *shrunk; /* parent of the place where a level was lost */
    bool left_shrank;
    if (n->left && n->right) {
        struct omap_node *next = n->right; /* in-order successor: has no left child */
        while (next->left)
            next = next->left;
        if (next->parent == n) {
            shrunk = next;
            left_shrank = false;
        } else {
            shrunk = next->parent;
            left_shrank = true;
            replace_child(m, next->parent, next, next->right);
            next->right = n->right;
            next->right->parent = next;
        }
        next->left = n->left;
        next->left->parent = next;
        next->balance = n->balance;
        replace_child(m, n->parent, n, next);
    } else {
        shrunk = n->parent;
        left_shrank = n->parent && n->parent->left == n;
        replace_child(m, n->parent, n, n->left ? n->left : n->right);
    }
    m->count--;
    *n = (struct omap_node){NULL, NULL, NULL, 0};
    rebalance_after_remove(m, shrunk, left_shrank);
}

struct omap_node *omap_find(const struct omap *m, const void *key, omap_key_fn key_cmp)
{
    struct omap_node *n = m->root;
    while (n) {
        int c = key_cmp(key, n);
        if (c == 0)
            return n;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

struct omap_node *omap_lower_bound(const struct omap *m, const void *key, omap_key_fn key_cmp)
{
    struct omap_node *n = m->root, *best = NULL;
    while (n) {
        if (key_cmp(key, n) <= 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct omap_node *omap_first(const struct omap *m)
{
    struct omap_node *n = m->root;
    while (n && n->left)
        n = n->left;
    return n;
}

struct omap_node *omap_last(const struct omap *m)
{
    struct omap_node *n = m->root;
    while (n && n->right)
        n = n->right;
    return n;
}

struct omap_node *omap_next(const struct omap_node *n)
{
    if (n->right) {
        struct omap_node *next = n->right;
        while (next->left)
            next = next->left;
        return next;
    }
    while (n->parent && n->parent->right == n)
        n = n->parent;
    return n->parent;
}
