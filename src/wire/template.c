#include "template.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Appends a text with its NUL. False if the room is too small. */
static bool put(char *to, size_t room, size_t *size, const char *text)
{
    size_t length = strlen(text) + 1;
    if (length > room - *size)
        return false;
    memcpy(to + *size, text, length);
    *size += length;
    return true;
}

size_t template_write_request(char *to, size_t room, char *const *arguments,
                              char *const *environment)
{
    char count[16];
    int arguments_count = 0;
    size_t size = 0;
    while (arguments[arguments_count])
        arguments_count++;
    snprintf(count, sizeof count, "%d", arguments_count);
    bool fits = put(to, room, &size, "fork") && put(to, room, &size, count);
    for (; fits && *arguments; arguments++)
        fits = put(to, room, &size, *arguments);
    for (; fits && *environment; environment++)
        fits = put(to, room, &size, *environment);
    return fits ? size : 0;
}

/* How many numbers follow each word, and the largest value of each. */
static const struct {
    const char *word;
    int numbers;
    long long most[3];
} replies[] = {
    [TEMPLATE_READY] = {"ready", 1, {INT_MAX}},
    [TEMPLATE_FORKED] = {"forked", 1, {INT_MAX}},
    [TEMPLATE_ENDED] = {"ended", 3, {0xffff, LLONG_MAX, LLONG_MAX}},
};

/* Reads a space and a number. False if there is anything else, or the number is too large. */
static bool take_number(const char **at, const char *end, long long most, long long *number)
{
    if (end - *at < 2 || **at != ' ')
        return false;
    *number = 0;
    for ((*at)++; *at < end && **at != ' '; (*at)++) {
        int digit = **at - '0';
        if (digit < 0 || digit > 9 || *number > (most - digit) / 10)
            return false;
        *number = 10 * *number + digit;
    }
    return (*at)[-1] != ' ';
}

static bool begins(const char *text, size_t size, const char *word)
{
    size_t length = strlen(word);
    return size >= length && memcmp(text, word, length) == 0;
}

void template_read_reply(struct template_reply *reply, const char *text, size_t size)
{
    *reply = (struct template_reply){.word = TEMPLATE_NOTHING};
    if (begins(text, size, "failed ")) {
        const char *why = text + strlen("failed ");
        size_t length = (size_t)(text + size - why);
        length = length < sizeof reply->text ? length : sizeof reply->text - 1;
        reply->word = TEMPLATE_FAILED;
        memcpy(reply->text, why, length);
        for (size_t i = 0; i < length; i++) /* the log gets it as one printable line */
            if (reply->text[i] < ' ' || reply->text[i] > '~')
                reply->text[i] = '?';
    }
    for (int word = TEMPLATE_READY; word <= TEMPLATE_ENDED; word++) {
        if (!begins(text, size, replies[word].word))
            continue;
        const char *at = text + strlen(replies[word].word), *end = text + size;
        bool right = true;
        for (int i = 0; i < replies[word].numbers && right; i++)
            right = take_number(&at, end, replies[word].most[i], &reply->numbers[i]);
        if (right && at == end)
            reply->word = (enum template_word)word;
    }
}
