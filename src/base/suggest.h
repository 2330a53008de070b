/*
 * suggest - "did you mean": the nearest of the words that are known.
 */
#ifndef PREFORKD_BASE_SUGGEST_H
#define PREFORKD_BASE_SUGGEST_H

struct suggest {
    const char *word;    /* as written */
    const char *nearest; /* of the words offered; NULL: none is near enough */
    unsigned distance;   /* of the nearest */
};

void suggest_init(struct suggest *near, const char *word);
void suggest_offer(struct suggest *near, const char *word);

#endif
