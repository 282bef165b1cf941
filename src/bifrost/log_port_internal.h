/* Both halves of a port: one belongs to its loop (log_port.c), the other to the log loop (log_host.c). */
#pragma once
#include "bifrost/log_parcel.h"
#include "bifrost/log_port.h"

struct log_port {
    struct loglet_net net;
    struct log_host *host;
    struct loop *loop;
    struct node_ref me;
    struct log_links *links;
    struct loglet_calls *calls;

    /* its loop */
    struct log_parcel *out; /* being filled in this iteration, or NULL */
    struct list spare;      /* log_parcel.link */
    struct loop_flush flush;
    bool closing, closed;
    struct loop_msg close_msg;
    void (*close_done)(void *ctx);
    void *close_ctx;

    /* the log loop */
    struct {
        struct log_parcel *out;
        struct list spare;
        struct loop_flush flush;
        uint64_t token; /* 0: has asked nothing yet */
    } host_side;
};

/* log_host.c: `deliver` on the log loop. */
void log_host_on_parcel(struct loop_msg *m);
void log_host_on_port_closed(struct loop_msg *m);
/* log_port.c: `deliver` on the port's loop. */
void log_port_on_parcel(struct loop_msg *m);
void log_port_on_closed(struct loop_msg *m);
/* Take one from the list or make one; put one back, or free it if there are enough. */
struct log_parcel *log_port_take_parcel(struct log_port *p, struct list *spare);
void log_port_keep_parcel(struct log_parcel *parcel, struct list *spare);
