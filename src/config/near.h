/*
 * near - the word that somebody may have meant.
 *
 * Owns:      the distance of two words; the nearest of those offered.
 * Knows not: what the words are.
 * Called by: reader, master (words of the control socket).
 * Runs in:   the checking child, the master.
 */
#ifndef PREFORKD_CONFIG_NEAR_H
#define PREFORKD_CONFIG_NEAR_H

struct near {
    const char *word;    /* as it was written */
    const char *nearest; /* of those offered; NULL: none is near enough */
    unsigned distance;   /* of the nearest */
};

void near_init(struct near *near, const char *word);
void near_offer(struct near *near, const char *word);

#endif
