/* The mailbox of a loop: lock-free, many senders, one receiver (loop/loop.h).
 *
 * Senders push on a stack; the loop takes the whole stack with one exchange and reverses it, which restores
 * the order of each sender. Waking up works like a sleeping barber: the loop announces `sleeping` and then
 * looks at the stack once more before it blocks; a sender pushes first and then looks at `sleeping`. Both
 * sides use sequentially consistent operations, so at least one of them sees the other. Only the sender that
 * clears `sleeping` pays for the system call. */
#include "loop/internal.h"

void loop_post(struct loop *target, struct loop_msg *m)
{
    struct loop_msg *head = atomic_load_explicit(&target->inbox, memory_order_relaxed);
    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak(&target->inbox, &head, m));
    if (atomic_load(&target->sleeping) && atomic_exchange(&target->sleeping, false))
        loop_wake(target);
}

bool mailbox_empty(const struct loop *l)
{
    return atomic_load(&l->inbox) == NULL;
}

void mailbox_drain(struct loop *l)
{
    if (atomic_load_explicit(&l->inbox, memory_order_relaxed) == NULL)
        return; /* the common case on an idle mailbox costs no locked instruction */
    struct loop_msg *newest = atomic_exchange(&l->inbox, NULL), *oldest = NULL;
    while (newest) {
        struct loop_msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_msg *next = oldest->next; /* deliver owns the message */
        oldest->next = NULL;
        oldest->deliver(oldest);
        oldest = next;
    }
}
