/*
 * suggest - "did you mean": the nearest word of those offered.
 *
 * Called by parser, in the checking child, and by the master, for words of the control socket.
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
