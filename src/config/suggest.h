/*
 * suggest - what the author of a wrong word may have meant: "did you mean", and what preforkd
 * writes for the words of other daemons' configurations.
 *
 * Called by syntax, parser and rules, in the checking child, and by the master for the words of the
 * control socket.
 */
#ifndef PREFORKD_CONFIG_SUGGEST_H
#define PREFORKD_CONFIG_SUGGEST_H

struct suggest {
    const char *word;    /* as written */
    const char *nearest; /* of the words offered; NULL: none is near enough */
    unsigned distance;   /* of the nearest */
};

void suggest_init(struct suggest *near, const char *word);
void suggest_offer(struct suggest *near, const char *word);

/* What every pool needs. If an unknown word stands for one of these, that word is the one fault:
 * the pool is not said to lack it as well. */
enum need { NEED_NOTHING, NEED_LISTEN = 1, NEED_SIZE = 2, NEED_HANDLER = 4 };

/* A word of another daemon's configuration. */
struct foreign_word {
    const char *word;
    const char *advice; /* what to write here */
    enum need need;     /* what the word stands for */
};

const struct foreign_word *suggest_foreign(const char *word); /* NULL: unknown */

/* Why this can't be the name of an option or a section: ": " and the reason, or "". */
const char *suggest_explain(const char *name);

#endif
