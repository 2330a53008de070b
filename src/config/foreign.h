/*
 * foreign - what preforkd writes for the words of other daemons' configurations.
 *
 * Called by syntax, parser and rules, in the checking child.
 */
#ifndef PREFORKD_CONFIG_FOREIGN_H
#define PREFORKD_CONFIG_FOREIGN_H

/* What every pool needs. If an unknown word stands for one of these, that word is the one fault:
 * the pool is not said to lack it as well. */
enum need { NEED_NOTHING, NEED_LISTEN = 1, NEED_SIZE = 2, NEED_HANDLER = 4 };

/* A word of another daemon's configuration. */
struct foreign_word {
    const char *word;
    const char *advice; /* what to write here */
    enum need need;     /* what the word stands for */
};

const struct foreign_word *foreign_find(const char *word); /* NULL: unknown */

/* Why this can't be an option or a section: ": " and the reason, or "". `behind` is the word behind
 * the name; NULL: the name is impossible by itself. */
const char *foreign_explain(const char *name, const char *behind);

#endif
