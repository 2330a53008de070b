/* Any bytes as the state that one master leaves to the next: no crash, and what is read is written
 * to a text that reads back to the same text. */
#include "fuzz.h"

#include "../../src/master/state.h"

#include <stdlib.h>
#include <string.h>

static char *write_state(const struct state *state, size_t *size)
{
    char *text;
    FILE *out = open_memstream(&text, size);
    if (!out)
        abort();
    state_write(state, out);
    if (fclose(out) != 0)
        abort();
    return text;
}

static void check_reads_back(const struct state *state)
{
    struct state again = {0};
    size_t size, size_again;
    char why[256], *text = write_state(state, &size);
    if (state_read(&again, text, size, why, sizeof why) != 0)
        abort();
    char *text_again = write_state(&again, &size_again);
    if (size != size_again || memcmp(text, text_again, size) != 0)
        abort();
    state_free(&again);
    free(text_again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct state state = {0};
    char why[256] = "";
    char *copy = malloc(size ? size : 1); /* so that reads beyond it are noticed */
    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    if (state_read(&state, copy, size, why, sizeof why) == 0)
        check_reads_back(&state);
    else if (*why == '\0' || memchr(why, '\0', sizeof why) == NULL)
        abort(); /* refused without a reason */
    state_free(&state);
    free(copy);
    return 0;
}
