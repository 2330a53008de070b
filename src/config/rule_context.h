/*
 * rule_context - one run of the rules over a configuration: what all of them need.
 *
 * Owns:      who asks, and how a fault finds its file and line.
 * Knows not: any rule.
 * Called by: rules, owners.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_RULE_CONTEXT_H
#define PREFORKD_CONFIG_RULE_CONTEXT_H

#include "config.h"

struct rule_context {
    struct config *config;
    struct arena *arena;
    struct faults *faults;
    bool root;
    bool whole;           /* nothing of the files is left out: what is missing is missing */
    struct identity self; /* who started the daemon */
};

/* The pools are const to everyone but those who fill them. */
struct pool_config *rule_context_pool(const struct rule_context *context, int index);

/* Notes a fault of an option, where it is set, or else where its section stands: in a pool, or,
 * where that is NULL, of the global options. */
void rule_context_fault(const struct rule_context *context, const struct pool_config *pool,
                        const char *option, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for what is no fault, and perhaps not what was meant. */
void rule_context_warn(const struct rule_context *context, const struct pool_config *pool,
                       const char *option, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
