/*
 * suggest - the word that somebody may have meant.
 *
 * Owns:      the distance of two words; the nearest of those offered.
 * Knows not: what the words are.
 * Called by: parser, master (words of the control socket).
 * Runs in:   the checking child, the master.
 */
#ifndef PREFORKD_CONFIG_SUGGEST_H
#define PREFORKD_CONFIG_SUGGEST_H

struct suggest {
    const char *word;    /* as it was written */
    const char *nearest; /* of those offered; NULL: none is near enough */
    unsigned distance;   /* of the nearest */
};

void suggest_init(struct suggest *near, const char *word);
void suggest_offer(struct suggest *near, const char *word);

#endif
