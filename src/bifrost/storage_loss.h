/* What the loss of a log-server's disk means for the logs (BETTER B14), as far as the metadata tells: who is
 * up does not matter. Pure functions.
 *
 * The rule: the node may come back with an empty disk if, for every segment that has it in its node set,
 * those that still have their copies are an f-majority. Then every record that was acknowledged has a copy
 * among them (Lemma Q), and each segment can be sealed and ended by them alone. From then on the node says
 * LOGLET_LOST about all segments that existed, and is an ordinary member of those that begin later. */
#pragma once
#include "bifrost/nodeset.h"
#include "metadata/logs_config.h"
#include "metadata/storage_generations.h"

/* RC_UNAVAILABLE with a sentence that names the first segment for which the other copies do not suffice.
 * RC_CORRUPT: parameters of a segment cannot be read. `g` tells what others have lost before. */
enum rc storage_loss_check(const struct nodes_config *nodes, const struct logs_config *logs,
                           const struct storage_generations *g, uint32_t node, struct err *err);
/* All segments that exist, as lost; the array lives in `a`. */
void storage_loss_everything(struct arena *a, const struct logs_config *logs, struct storage_generation *out);
