/* Any bytes: the decoder of gossip messages answers without a crash, and what it accepts in our version is
 * written to a message that it accepts with the same content. */
#include <stdlib.h>

#include "wire/gossip_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(const struct gossip_message *m, struct writer *w)
{
    struct gossip_node n;
    struct gossip_status s;
    uint16_t partition;
    uint32_t version;
    gossip_begin(w, &m->header);
    struct slice section = m->nodes;
    size_t start = gossip_nodes_begin(w);
    while (gossip_next_node(&section, &n))
        gossip_put_node(w, &n);
    gossip_section_end(w, start);
    section = m->statuses;
    start = gossip_statuses_begin(w, m->cover);
    while (gossip_next_status(&section, &s))
        gossip_put_status(w, &s);
    gossip_section_end(w, start);
    section = m->epochs;
    start = gossip_epochs_begin(w);
    while (gossip_next_epoch(&section, &partition, &version))
        gossip_put_epoch(w, partition, version);
    gossip_section_end(w, start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gossip_message m, again;
    struct err err;
    if (gossip_message_decode(slice_make(data, size), &m, &err))
        return 0;
    struct writer first = WRITER_INIT, second = WRITER_INIT;
    rewrite(&m, &first);
    /* Entries of fewer bytes than we write grow, by one byte of length each. */
    if (first.len <= GOSSIP_MESSAGE_MAX) {
        ASSERT(gossip_message_decode(writer_slice(&first), &again, &err) == RC_OK);
        rewrite(&again, &second);
        ASSERT(slice_eq(writer_slice(&first), writer_slice(&second)));
    }
    writer_free(&first);
    writer_free(&second);
    return 0;
}
