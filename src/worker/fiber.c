#include "fiber.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif

#if ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(from, to) 0
#define VALGRIND_STACK_DEREGISTER(id)     (void)(id)
#endif

/* From kernel 6.13 on, a guard page needs no mapping of its own; a process can have 65 530. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The bytes of a stack and its guard page. A page may have 64 KiB. */
static size_t whole(void)
{
    return (FIBER_STACK + 2 * page() - 1) / page() * page();
}

/* An emulator may accept any advice and follow none. So ask the kernel to write to the page, which
 * it must refuse. */
static bool guard_without_mapping(char *at)
{
    return madvise(at, page(), MADV_GUARD_INSTALL) == 0 &&
           syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at) != 0;
}

/* The processor's caches go by the lower bits of an address, so all stacks would compete for the
 * same few cache lines. To prevent that, the tops of the stacks differ within a page. */
enum { SHADES = 16, SHADE = 128 };
static unsigned opened;

int fiber_open(struct fiber *fiber)
{
    *fiber = (struct fiber){0};
    char *stack = mmap(NULL, whole(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    /* The kernel may merge neighbouring stacks into one mapping, and a huge page would then back
     * several stacks at the first touch. A kernel without huge pages refuses this advice. */
    madvise(stack, whole(), MADV_NOHUGEPAGE);
    if (!guard_without_mapping(stack) && mprotect(stack, page(), PROT_NONE) != 0) {
        int error = -errno;
        munmap(stack, whole());
        return error;
    }
    fiber->stack = stack;
    fiber->top = stack + whole() - opened++ % SHADES * SHADE;
    fiber->valgrind = VALGRIND_STACK_REGISTER(stack, stack + whole());
    return 0;
}

void fiber_close(struct fiber *fiber)
{
    VALGRIND_STACK_DEREGISTER(fiber->valgrind);
    munmap(fiber->stack, whole());
    fiber->stack = NULL;
}

/* The guard page is not in the range, and stays. */
void fiber_shrink(struct fiber *fiber)
{
    madvise(fiber->stack + page(), whole() - page(), MADV_DONTNEED);
}

/* --- the switch ------------------------------------------------------------------------------- */

/* fiber_jump saves the stack pointer in *from, and continues on the stack `to`. To the compiler it
 * is an ordinary call, so it saves on the stack what a call has to preserve. */
#if defined(__x86_64__) && !defined(__ILP32__) && !FIBER_BY_UCONTEXT

void fiber_jump(void **from, void *to) __attribute__((visibility("hidden")));

/* A call preserves the floating-point control words, too. Loading them takes longer than all the
 * rest, so they are loaded only if they differ. */
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden fiber_jump\n"
        ".globl fiber_jump\n"
        ".type fiber_jump, @function\n"
        "fiber_jump:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movl (%rsp), %eax\n"
        "    movzwl 4(%rsp), %ecx\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    cmpl (%rsp), %eax\n"
        "    je 1f\n"
        "    ldmxcsr (%rsp)\n"
        "1:  cmpw 4(%rsp), %cx\n"
        "    je 2f\n"
        "    fldcw 4(%rsp)\n"
        "2:\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    retq\n"
        "    .cfi_endproc\n"
        ".size fiber_jump, . - fiber_jump\n");

/* In words: the size of the frame that fiber_jump pops; the place of the return address in it; and
 * the words above the frame, which align the stack as at a function's entry. */
enum { FRAME = 8, ENTRY = 7, ABOVE = 3 };

static void set_frame(uintptr_t *frame)
{
    uint32_t *words = (uint32_t *)frame;
    __asm__ volatile("stmxcsr %0" : "=m"(words[0]));
    __asm__ volatile("fnstcw %0" : "=m"(words[1]));
}

#elif defined(__aarch64__) && !FIBER_BY_UCONTEXT

void fiber_jump(void **from, void *to) __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".p2align 4\n"
        ".hidden fiber_jump\n"
        ".globl fiber_jump\n"
        ".type fiber_jump, %function\n"
        "fiber_jump:\n"
        "    .cfi_startproc\n"
        "    hint #34\n" /* bti c */
        "    sub sp, sp, #176\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mrs x9, fpcr\n"
        "    str x9, [sp, #160]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldr x9, [sp, #160]\n"
        "    msr fpcr, x9\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #176\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size fiber_jump, . - fiber_jump\n");

enum { FRAME = 22, ENTRY = 11, ABOVE = 2 };

static void set_frame(uintptr_t *frame)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(frame[20]));
}

#else

#include <ucontext.h>

#undef FIBER_BY_UCONTEXT
#define FIBER_BY_UCONTEXT 1

#endif

/* --- start, resume, suspend ------------------------------------------------------------------- */

static struct fiber *starting; /* the fiber that the next jump enters */

#if ADDRESS_SANITIZER

static const void *bottom; /* of the thread's own stack */
static size_t bottom_size;

static void before_jump(struct fiber *from, const struct fiber *to)
{
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake, to->stack ? to->stack : bottom,
                                   to->stack ? whole() : bottom_size);
}

static void after_jump(const struct fiber *self)
{
    const void *other;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake, &other, &size);
    if (self->stack && !bottom) {
        bottom = other;
        bottom_size = size;
    }
}

#else

static void before_jump(struct fiber *from, const struct fiber *to)
{
    (void)from, (void)to;
}

static void after_jump(const struct fiber *self)
{
    (void)self;
}

#endif

static void jump(struct fiber *from, struct fiber *to);

/* The first function on a stack. It has no caller, and never returns. */
static void enter(void)
{
    struct fiber *self = starting;
    after_jump(self);
    self->run(self->argument);
    self->ended = true;
    jump(self, self->back);
    abort();
}

#if FIBER_BY_UCONTEXT

/* A fiber's context lies at the top of its stack; the thread's own is static. */
static ucontext_t of_thread;

static ucontext_t *context_of(struct fiber *fiber)
{
    return fiber->stack ? (ucontext_t *)fiber->top - 1 : &of_thread;
}

static void jump(struct fiber *from, struct fiber *to)
{
    before_jump(from, to);
    swapcontext(context_of(from), context_of(to));
    after_jump(from);
}

static void prepare(struct fiber *fiber)
{
    ucontext_t *context = context_of(fiber);
    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack;
    context->uc_stack.ss_size = (size_t)((char *)context - fiber->stack);
    context->uc_link = NULL;
    makecontext(context, enter, 0);
}

#else

static void jump(struct fiber *from, struct fiber *to)
{
    before_jump(from, to);
    fiber_jump(&from->sp, to->sp);
    after_jump(from);
}

/* Builds the frame of a fiber that was suspended just before its first function. The words above
 * the frame, where that function's return address would be, are 0: a debugger's backtrace ends
 * there. */
static void prepare(struct fiber *fiber)
{
    uintptr_t *top = (uintptr_t *)fiber->top - ABOVE;
    uintptr_t *frame = top - FRAME;
    top[0] = top[1] = 0;
    for (int i = 0; i < FRAME; i++)
        frame[i] = 0;
    set_frame(frame);
    frame[ENTRY] = (uintptr_t)enter;
    fiber->sp = frame;
}

#endif

void fiber_start(struct fiber *fiber, void (*run)(void *argument), void *argument)
{
#if ADDRESS_SANITIZER
    __asan_unpoison_memory_region(fiber->stack + page(), whole() - page());
#endif
    fiber->run = run;
    fiber->argument = argument;
    fiber->ended = false;
    fiber->fake = NULL;
    fiber->starts++;
    prepare(fiber);
}

void fiber_resume(struct fiber *here, struct fiber *fiber)
{
    fiber->back = here;
    starting = fiber;
    jump(here, fiber);
}

void fiber_suspend(struct fiber *fiber)
{
    jump(fiber, fiber->back);
}
