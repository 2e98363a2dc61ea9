// crowd NUMBER              that many processes that sleep for ever
// crowd NUMBER FIRST PATH   that many that execute PATH, this program under another name, with the command
//                           line that libvirt gives to a qemu; numbered from FIRST on
//
// It says "ready" when all are there, and ends them and itself when its standard input ends.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// A machine wakes up ten times a second, as an idle guest's clock does, so that every tick has something to charge.
static void be_machine(void) {
	struct timespec tenth = {.tv_nsec = 100000000};
	for (;;) {
		nanosleep(&tenth, NULL);
		for (volatile int i = 0; i < 10000; i++) {
		}
	}
}

static void sleep_for_ever(void) {
	for (;;) {
		pause();
	}
}

static void become(const char *path, int number) {
	char name[64], uuid[64];
	snprintf(name, sizeof name, "guest=bench-%d,debug-threads=on", number);
	snprintf(uuid, sizeof uuid, "5ca9b00c-0000-4000-8000-%012d", number);
	execl(path, path, "-name", name, "-uuid", uuid, "-smp", "2", (char *)NULL);
	_exit(1);
}

int main(int argc, char **argv) {
	if (strstr(argv[0], "qemu-system-")) {
		be_machine();
	}
	if (argc != 2 && argc != 4) {
		return 2;
	}
	int number = atoi(argv[1]);
	pid_t self = getpid(), *children = calloc(number, sizeof *children);
	if (children == NULL) {
		return 1;
	}
	int count = 0;
	for (; count < number; count++) {
		pid_t child = fork();
		if (child < 0) {
			perror("fork");
			break;
		}
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); // it survives an execve(2)
			if (getppid() != self) {
				_exit(1); // it came too late
			}
			free(children);
			if (argc == 4) {
				become(argv[3], atoi(argv[2]) + count);
			}
			sleep_for_ever();
		}
		children[count] = child;
	}
	if (count == number) {
		puts("ready");
		fflush(stdout);
		char ignored;
		while (read(0, &ignored, 1) > 0) {
		}
	}
	for (int i = 0; i < count; i++) {
		kill(children[i], SIGKILL);
	}
	for (int i = 0; i < count; i++) {
		waitpid(children[i], NULL, 0);
	}
	return count == number ? 0 : 1;
}
