#include "faults.h"

#include "text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void faults_init(struct faults *faults, struct arena *arena)
{
    *faults = (struct faults){.arena = arena};
}

/* The link to insert a fault at: after those in its file with a line up to its own, or at the
 * end. */
static struct fault **place(struct faults *faults, const char *file, int line)
{
    struct fault **at = &faults->first;
    bool in_file = false;
    for (; *at; at = &(*at)->next) {
        bool same = strcmp((*at)->file, file) == 0;
        if (same ? (*at)->line > line : in_file)
            return at;
        in_file = same;
    }
    return at;
}

/* A sentence is one line, and fit for a terminal, whatever the strings in the file hold. */
void faults_add(struct faults *faults, const char *file, int line, const char *format, ...)
{
    char raw[1024], text[sizeof raw];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    text_clean(text, sizeof text, raw, sizeof raw);
    for (const struct fault *f = faults->first; f; f = f->next)
        if (f->line == line && strcmp(f->file, file) == 0 && strcmp(f->text, text) == 0)
            return;
    if (faults->count++ >= FAULTS_MAX)
        return;
    struct fault *fault = arena_take(faults->arena, sizeof *fault);
    fault->file = arena_text(faults->arena, file);
    fault->line = line;
    fault->text = arena_text(faults->arena, text);
    struct fault **at = place(faults, file, line);
    fault->next = *at;
    *at = fault;
}

const char *fault_place(const struct fault *fault, char text[static FAULT_PLACE])
{
    if (fault->line)
        snprintf(text, FAULT_PLACE, "%s:%d", fault->file, fault->line);
    else
        snprintf(text, FAULT_PLACE, "%s", fault->file);
    return text;
}
