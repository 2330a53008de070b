/* Any bytes as a template's message: no crash, no number above its bound, and a printable text. */
#include "fuzz.h"

#include "../../src/wire/template.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct template_reply reply;
    char *copy = malloc(size + 1); /* so that reads beyond it are noticed */
    if (!copy)
        abort();
    copy = realloc(memcpy(copy, bytes, size), size ? size : 1);
    template_read_reply(&reply, copy, size);
    if (reply.word > TEMPLATE_FAILED || !memchr(reply.text, '\0', sizeof reply.text))
        abort();
    for (int i = 0; i < 3 && reply.word != TEMPLATE_NOTHING; i++)
        if (reply.numbers[i] < 0)
            abort();
    if (reply.word == TEMPLATE_FORKED && reply.numbers[0] > INT_MAX)
        abort();
    if (reply.word == TEMPLATE_ENDED && reply.numbers[0] > 0xffff)
        abort();
    for (const char *at = reply.text; *at; at++)
        if (*at < ' ' || *at > '~')
            abort();
    free(copy);
    return 0;
}
