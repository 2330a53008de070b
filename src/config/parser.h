/*
 * parser - the statements of the files into the structs of config, by the rows of options: which
 * option may stand where, which is unknown, doubled, missing, or not honoured by the pool's
 * handler. libconfuse reads the values.
 *
 * Must not know: what options mean together (rules), where the files come from (source).
 * Called by config, in the checking child.
 */
#ifndef PREFORKD_CONFIG_PARSER_H
#define PREFORKD_CONFIG_PARSER_H

#include "config.h"
#include "source.h"

/* Fills the config from all files. `scratch` holds what is needed while it does. */
void parser_fill(struct config *config, const struct source *sources,
                 const struct handler_section *const *handlers, struct arena *scratch);

#endif
