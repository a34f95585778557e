public static Optional<Long> seatsTogether(String row, long people) {
    int start = row.indexOf(".".repeat((int) people));
    return start == -1 ? Optional.empty() : Optional.of(start + 1L);
}
