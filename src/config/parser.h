/*
 * parser - the statements of the files into the structs of config, by the rows of options.
 *
 * Owns:      what may stand where: unknown, doubled, missing; and libconfuse, which reads the
 *            values.
 * Knows not: what options mean together (rules), where the files come from (source).
 * Called by: config.
 * Runs in:   the checking child.
 */
#ifndef PREFORKD_CONFIG_PARSER_H
#define PREFORKD_CONFIG_PARSER_H

#include "config.h"
#include "source.h"

/* Fills the config from all files. `scratch` holds what is needed while it does. */
void parser_fill(struct config *config, struct source *sources,
                 const struct handler_section *const *handlers, struct arena *scratch);

#endif
