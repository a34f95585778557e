public static ArrayList<String> quarterTurn(ArrayList<String> picture) {
    ArrayList<String> turned = new ArrayList<>();
    int width = picture.isEmpty() ? 0 : picture.get(0).length();
    for (int column = 0; column < width; column++) {
        StringBuilder line = new StringBuilder();
        for (int row = picture.size() - 1; row >= 0; row--) {
            line.append(picture.get(row).charAt(column));
        }
        turned.add(line.toString());
    }
    return turned;
}
