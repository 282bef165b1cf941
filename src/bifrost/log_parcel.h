/* Messages of one loop iteration on their way between a loop of this process and the log loop: copies of the
 * heads, references to the bodies, nothing encoded (principle 4). A parcel has one owner at a time: the loop
 * that fills it, its mailbox, the loop that reads it. */
#pragma once
#include "base/containers.h"
#include "loop/loop.h"
#include "wire/loglet_message.h"

struct log_port;

struct log_parcel_item {
    struct loglet_message message; /* without its arrays: */
    size_t first_record, first_range;
};

struct log_parcel {
    struct loop_msg msg;
    struct list link;
    struct log_port *port;
    bool space_again; /* to a port: the log-server takes stores again */
    struct {
        struct log_parcel_item *items;
        size_t len, cap;
    } messages;
    struct {
        struct bytes *items;
        size_t len, cap;
    } records;
    struct {
        struct loglet_range *items;
        size_t len, cap;
    } ranges;
};

struct log_parcel *log_parcel_new(struct log_port *port);
void log_parcel_free(struct log_parcel *p);
/* Takes references to the bodies. */
void log_parcel_add(struct log_parcel *p, const struct loglet_message *m);
/* The i-th message; its arrays are lent from the parcel. */
struct loglet_message log_parcel_get(const struct log_parcel *p, size_t i);
/* Drops the references; keeps the room. */
void log_parcel_clear(struct log_parcel *p);
