"""What objectives share: losses, tasks, teachers, and gathering over ranks."""
