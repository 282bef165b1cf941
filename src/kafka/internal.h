/* The inside of a consumer: consumer.c is the loop's side, client.c the thread's, assignment.c what the
 * thread knows of its topic partitions. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "base/log.h"
#include "base/metrics.h"
#include "kafka/consumer.h"

#define TARGET "restate_ingress_kafka"

/* ---- from the loop to the thread ---- */
struct progress {
    int32_t partition;
    uint64_t generation;
    int64_t next_offset;
    size_t records;
};
struct inbox { /* under `lock` */
    pthread_mutex_t lock;
    struct {
        struct progress *items;
        size_t len, cap;
    } progress;
    struct schema *schema; /* NULL: no news */
    struct schema_defaults defaults;
    bool stop;
};

/* ---- from the thread to the loop ---- */
enum handoff_kind { HANDOFF_OPEN, HANDOFF_RECORDS, HANDOFF_CLOSE, HANDOFF_STOPPED };
struct handed {
    int64_t offset;
    uint64_t partition_key;
    struct bytes record;
};
struct handoff {
    struct loop_msg msg;
    struct consumer *consumer;
    enum handoff_kind kind;
    int32_t partition;
    uint64_t generation; /* of the assignment: what belongs to an earlier one is not mixed up */
    size_t n;
    struct handed items[];
};

/* A topic partition that this consumer has been given. Thread only. */
struct assigned {
    int32_t partition;
    uint64_t generation;
    rd_kafka_queue_t *queue;
    struct u128 producer;
    size_t unconfirmed;       /* records handed over */
    int64_t next_offset;      /* confirmed; negative: nothing yet */
    rd_kafka_message_t *held; /* cannot become an invocation now; tried again at `held_until_ms` */
    uint64_t held_until_ms, held_told_ms;
    struct metric *requests, *lag;
};

struct loop_stream { /* loop only */
    struct list link_;
    struct consumer *consumer;
    struct stream *stream;
    int32_t partition;
    uint64_t generation;
};

struct consumer {
    struct consumer_config config;
    struct kafka_settings settings;
    char name[RESOURCE_ID_TEXT_MAX]; /* the subscription's id */
    char *topic, *group;
    pthread_t thread;
    int wake; /* eventfd: something in the inbox, or in a queue of librdkafka */
    struct inbox inbox;

    /* loop */
    struct list streams;
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    /* thread */
    rd_kafka_t *rk;
    struct schema *schema;
    struct schema_defaults defaults;
    struct {
        struct assigned **items;
        size_t len, cap;
    } assigned;
    uint64_t generation, lag_told_ms;
    bool stop;
    struct err failure; /* rc not RC_OK: this client must be given up */
    struct {
        char text[ERR_MESSAGE_SIZE];
        uint64_t at_ms;
    } told; /* the last failure that was logged */
    struct metric *blocked, *skipped;
};

/* consumer.c */
struct handoff *handoff_new(struct consumer *c, enum handoff_kind kind, int32_t partition,
                            uint64_t generation, size_t n);

/* client.c */
void *consumer_thread(void *consumer);
void consumer_fail(struct consumer *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t consumer_now_ms(void);
/* Any thread. */
void consumer_wake(struct consumer *c);

/* assignment.c; all on the thread. */
void assignment_changed(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *partitions,
                        void *opaque);
/* What is assigned is not any more, as far as we are concerned. */
void assignment_drop_all(struct consumer *c);
struct assigned *assignment_find(struct consumer *c, int32_t partition);
void assignment_confirm(struct consumer *c, const struct progress *p);
size_t assignment_unconfirmed(const struct consumer *c);
void assignment_tell_lag(struct consumer *c);

/* reading.c; all on the thread. */
/* Read from all topic partitions as far as the budget goes. The milliseconds to wait before the next pass,
 * unless woken up. */
int reading_pass(struct consumer *c);
/* A message that did not come through the queue of its topic partition. Takes it. */
void reading_take(struct consumer *c, rd_kafka_message_t *m);
