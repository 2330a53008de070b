#include "suggest.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_MAX = 32 }; /* a longer word is near to nothing */

void suggest_init(struct suggest *near, const char *word)
{
    *near = (struct suggest){.word = word};
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The Damerau-Levenshtein distance: how many letters must be changed, added, left out, or exchanged
 * with the next one to turn one word into the other. Three rows of the table are enough. */
static unsigned distance(const char *a, const char *b)
{
    unsigned table[3][WORD_MAX + 1];
    size_t width = strlen(b);
    for (unsigned j = 0; j <= width; j++)
        table[0][j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned *row = table[i % 3];
        const unsigned *above = table[(i + 2) % 3], *above_that = table[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= width; j++) {
            row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(row[j], least(above[j], row[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped)
                row[j] = least(row[j], above_that[j - 2] + 1);
        }
    }
    return table[strlen(a) % 3][width];
}

void suggest_offer(struct suggest *near, const char *word)
{
    size_t length = strlen(near->word);
    if (length > WORD_MAX || strlen(word) > WORD_MAX)
        return;
    unsigned far = distance(near->word, word);
    unsigned most = length < 4 ? 1 : length < 8 ? 2 : 3;
    if (far > most || (near->nearest && far >= near->distance))
        return;
    near->nearest = word;
    near->distance = far;
}
