/*
 * sizes - what the options of a pool's size mean together: a fixed one, or one that follows the
 * load.
 *
 * Owns:      which of these options exclude each other, their order, and the defaults that depend
 *            on others.
 * Called by: rules, compare.
 * Runs in:   the checking child; the master asks which options make up a size.
 */
#ifndef PREFORKD_CONFIG_SIZES_H
#define PREFORKD_CONFIG_SIZES_H

#include "rule_context.h"

/* Notes what is wrong with one pool's size, and completes it. */
void sizes_apply(const struct rule_context *context, struct pool_config *pool);

/* Notes where all pools together are more than is possible. */
void sizes_apply_sum(const struct rule_context *context);

/* Whether a pool of this kind of size takes the option, as far as sizes has a say in it. */
bool sizes_take(const struct pool_config *pool, const struct option_row *row);

/* Whether the option is one of those that make up a size. */
bool sizes_has(const struct option_row *row);

#endif
