/*
 * habits - the words of other daemons' configurations, and what is written here instead.
 *
 * Called by: syntax and parser, in the checking child.
 */
#ifndef PREFORKD_CONFIG_HABITS_H
#define PREFORKD_CONFIG_HABITS_H

/* What a pool can't do without. An unknown word that stands for one is fault enough: that the pool
 * lacks it is not told beside it. */
enum need { NEED_NOTHING, NEED_LISTEN = 1, NEED_SIZE = 2, NEED_HANDLER = 4 };

struct habit {
    const char *word;
    const char *cure;
    enum need need;
};

const struct habit *habits_find(const char *word); /* NULL: none */

/* Why this can't be the name of an option or a section: with ": " before it, or empty. */
const char *habits_explain(const char *name);

#endif
