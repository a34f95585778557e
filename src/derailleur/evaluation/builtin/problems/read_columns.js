function read_columns(message, width){
    let text = '';
    for (let column = 0; column < width; column++) {
        for (let place = column; place < message.length; place += width) {
            text += message[place];
        }
    }
    return text;
}
