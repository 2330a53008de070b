#include "answer.h"

#include "../base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool as_json;

void answer_begin(const struct message_request *request)
{
    for (int i = 0; i < request->count; i++)
        as_json = as_json || strcmp(request->words[i], "--json") == 0;
}

bool answer_is_json(void)
{
    return as_json;
}

static void print_object(bool ok, const char *text, const char *error)
{
    struct buffer json = {0};
    buffer_print(&json, "{\"ok\":%s,\"text\":", ok ? "true" : "false");
    buffer_add_quoted(&json, text, strlen(text));
    if (error) {
        buffer_print(&json, ",\"error\":");
        buffer_add_quoted(&json, error, strlen(error));
    }
    buffer_print(&json, "}\n");
    fwrite(json.at, 1, json.used, stdout);
    buffer_done(&json);
}

int answer_say(const char *text)
{
    if (as_json)
        print_object(true, text, NULL);
    else
        printf("%s\n", text);
    return answer_is_out() ? MESSAGE_DONE : MESSAGE_REFUSED;
}

int answer_fail(int status, const char *format, ...)
{
    char error[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(error, sizeof error, format, args);
    va_end(args);
    if (as_json)
        print_object(false, "", error);
    else
        fprintf(stderr, "preforkctl: %s\n", error);
    return answer_is_out() ? status : MESSAGE_REFUSED;
}

bool answer_is_out(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    perror("preforkctl: standard output");
    return false;
}
