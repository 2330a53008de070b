#include "plan_log.h"

#include <stdio.h>
#include <string.h>

static void tell_pool(const struct plan *plan, plan_loger *tell, void *owner)
{
    char line[POOL_NAME_MAX + sizeof plan->what + 40];
    const char *between = plan->kind == PLAN_RESIZED ? " " : ": ";
    snprintf(line, sizeof line, "pool %s: %s%s%s", plan->conf->name, plan_words[plan->kind],
             plan->what[0] ? between : "", plan->what);
    tell(owner, plan->kind != PLAN_KEPT, line);
}

/* A line ends with the reason where there is one: "listener unix:/x: opened: its path was removed". */
static void tell_socket(const char *kind, const struct listener *listener, const char *word,
                        plan_loger *tell, void *owner)
{
    char line[2 * ADDR_TEXT + LISTENER_TROUBLE];
    const char *why = listener->mended ? listener_loss_words[listener->mended] : listener->trouble;
    const char *between = listener->trouble[0] ? ", unreachable: " : why[0] ? ": " : "";
    if (listener->mended)
        word = "opened";
    snprintf(line, sizeof line, "%s %s: %s%s%s", kind, listener->text, word, between, why);
    tell(owner, between[0] || strcmp(word, "kept") != 0, line);
}

static void tell_control(const struct plans *plans, const struct runtime *runtime, plan_loger *tell,
                         void *owner)
{
    if (plans->control == runtime->control) {
        if (runtime->control && runtime->control->trouble[0])
            tell_socket("control", runtime->control, "kept", tell, owner);
        return;
    }
    if (runtime->control && !(plans->control && plans->control->mended))
        tell_socket("control", runtime->control, "closed", tell, owner);
    if (plans->control)
        tell_socket("control", plans->control, "opened", tell, owner);
}

void plans_tell(const struct plans *plans, const struct runtime *runtime, plan_loger *tell,
                void *owner)
{
    char line[POOL_NAME_MAX + 40];
    for (int i = 0; i < plans->count; i++)
        tell_pool(&plans->at[i], tell, owner);
    for (const struct pool *p = runtime->pools; p; p = p->next)
        if (!p->removed && !plans_have(plans, p)) {
            snprintf(line, sizeof line, "pool %s: removed", p->name);
            tell(owner, true, line);
        }
    for (const struct listener *l = runtime->listeners; l; l = l->next)
        if (!l->successor)
            tell_socket("listener", l, l->wanted ? "kept" : "closed", tell, owner);
    for (const struct listener *l = plans->opened; l; l = l->next)
        tell_socket("listener", l, "opened", tell, owner);
    tell_control(plans, runtime, tell, owner);
}
