// /bin/true without a C library's start: what is left is the start itself.
int main(void) { return 0; }
