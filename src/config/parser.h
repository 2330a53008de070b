/*
 * parser - fills the structs of config from the statements of the files, by the rows of the
 * options. Notes options and sections that are unknown, misplaced, doubled, missing, or not
 * honoured by the pool's handler. libconfuse reads the values.
 *
 * Must not know: what options mean together (rules), how files are read (source).
 * Called by load, in the checking child.
 */
#ifndef PREFORKD_CONFIG_PARSER_H
#define PREFORKD_CONFIG_PARSER_H

#include "config.h"
#include "source.h"

/* Fills the config from all files. `scratch` is for temporary data. */
void parser_fill(struct config *config, const struct source *sources,
                 const struct handler_section *const *handlers, struct arena *scratch);

#endif
